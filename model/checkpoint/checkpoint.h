// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/safetensors.h"

namespace fedtune {

// The name that transformers gives a tensor of a language model: one of a model that was
// saved without its head, as AutoModel has it, lacks the "model." before it.
std::string UsualName(std::string_view stored);

// The weights of a Hugging Face checkpoint folder: one model.safetensors, or all that is
// in the shards that model.safetensors.index.json names. Memory-mapped. Movable;
// views stay valid as long as the checkpoint lives. Thread-safe.
class Checkpoint {
 public:
  // NOT_FOUND: no such folder, no weights in it, or a shard is missing (says
  // which). INVALID_ARGUMENT: a broken index or shard, a tensor in two shards
  // or under two names, or a model.safetensors beside an index of other files.
  static absl::StatusOr<Checkpoint> Open(const std::filesystem::path& directory);

  const std::filesystem::path& directory() const { return directory_; }

  // The files, by name. Their tensors have the names under which they are stored.
  const std::vector<SafetensorsFile>& shards() const { return shards_; }

  // Null when there is no such tensor. A tensor goes by its usual name and by the one that
  // it is stored under, which is the view's.
  const TensorView* Find(std::string_view name) const;

  // NOT_FOUND: names the tensor and the folder, or the shard that should have it.
  absl::StatusOr<TensorView> Get(std::string_view name) const;

  // Values and bytes of all tensors.
  int64_t parameter_count() const;
  int64_t weight_bytes() const;

 private:
  Checkpoint(std::filesystem::path directory, std::vector<SafetensorsFile> shards,
             std::map<std::string, std::string> not_held);

  std::filesystem::path directory_;
  std::vector<SafetensorsFile> shards_;
  std::map<std::string, std::string> not_held_;  // Tensors that the index has elsewhere.
  std::map<std::string, const TensorView*, std::less<>> tensors_;  // By their usual names.
};

// Names of checkpoint files.
inline constexpr char kSingleWeightsFile[] = "model.safetensors";
inline constexpr char kWeightsIndexFile[] = "model.safetensors.index.json";

}  // namespace fedtune
