// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"

namespace fedtune {

// The identity of a base model: "sha256:..." over the sorted names, sizes and
// SHA-256 digests of config.json, tokenizer.json and every *.safetensors file
// of the folder: of "fedtune base model 1\n" and a line "NAME SIZE HEX\n" each.
// `progress` is called with the share of bytes read so far.
//
// NOT_FOUND: no such folder, no config.json or weights in it, or a shard is missing.
// INVALID_ARGUMENT: a file that is cut off, damaged or a pointer of Git LFS; as from
// Checkpoint::Open(). INTERNAL, PERMISSION_DENIED: a file cannot be read, or changed
// meanwhile.
absl::StatusOr<std::string> BaseModelDigest(
    const std::filesystem::path& directory,
    const std::function<void(double fraction)>& progress = [](double) {});

}  // namespace fedtune
