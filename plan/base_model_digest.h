// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fedtune {

// The identity of a base model: what decides about its tokens and what it computes.
struct BaseModelDigests {
  // "sha256:..." of "fedtune base model 2\n" and a line "NAME SIZE HEX\n" (SHA-256) for
  // each of config.json, model.safetensors.index.json, tokenizer.json,
  // tokenizer_config.json, special_tokens_map.json, added_tokens.json,
  // chat_template.jinja and every *.safetensors that is in the folder, sorted by name.
  std::string digest;

  // The same of "fedtune base model 1\n" and of config.json, tokenizer.json and *.safetensors
  // alone: what older plans, policies and runs call the model. Copies with other chat
  // templates have it in common.
  std::string earlier;

  bool Have(std::string_view wanted) const { return wanted == digest || wanted == earlier; }
};

// One of the files that the digest covers, as its file system describes it. When it is written
// to, or another one is put in its place, that changes, while its name stays.
struct ModelFile {
  std::string name;
  uint64_t size = 0;
  int64_t written_ns = 0;  // Since 1970, as stat() has it: st_mtim and st_ctim.
  int64_t changed_ns = 0;

  friend bool operator==(const ModelFile&, const ModelFile&) = default;
};

// Those in a folder, sorted by name. Reads none of them.
// NOT_FOUND, INTERNAL, PERMISSION_DENIED: the folder or a file of it cannot be looked at.
absl::StatusOr<std::vector<ModelFile>> ModelFilesIn(const std::filesystem::path& directory);

// Reads the whole folder. `progress` is called with the share of bytes read so far.
//
// NOT_FOUND: no such folder, no config.json or weights in it, or a shard is missing.
// INVALID_ARGUMENT: a file that is cut off, damaged or a pointer of Git LFS; as from
// Checkpoint::Open(). INTERNAL, PERMISSION_DENIED: a file cannot be read, or changed
// meanwhile.
absl::StatusOr<BaseModelDigests> DigestBaseModel(
    const std::filesystem::path& directory,
    const std::function<void(double fraction)>& progress = [](double) {});

}  // namespace fedtune
