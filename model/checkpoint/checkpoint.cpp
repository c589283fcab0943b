// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/checkpoint.h"

#include <set>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/weights_index.h"

namespace fedtune {
namespace {

bool IsThere(const std::filesystem::path& path) {
  std::error_code unreadable_is_not_there;
  return std::filesystem::exists(path, unreadable_is_not_there);
}

absl::StatusOr<WeightMap> ReadIndex(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseWeightsIndex(text, path.string());
}

absl::StatusOr<std::vector<SafetensorsFile>> OpenShards(const std::filesystem::path& directory,
                                                        const WeightMap& weights) {
  std::set<std::string> names;
  for (const auto& [tensor, file] : weights) names.insert(file);
  std::vector<SafetensorsFile> shards;
  for (const std::string& name : names) {
    if (!IsThere(directory / name)) {
      return absl::NotFoundError(
          fmt::format("{}: {} is missing ({} lists it): the copy is incomplete", directory.string(),
                      name, kWeightsIndexFile));
    }
    ASSIGN_OR_RETURN(SafetensorsFile shard, SafetensorsFile::Open(directory / name));
    shards.push_back(std::move(shard));
  }
  return shards;
}

// Every tensor of a shard must be where the index says.
absl::Status CheckShard(const SafetensorsFile& shard, const WeightMap& weights) {
  const std::string file = shard.path().filename().string();
  for (const TensorView& tensor : shard.tensors()) {
    const auto listed = weights.find(tensor.name);
    if (listed != weights.end() && listed->second == file) continue;
    return absl::InvalidArgumentError(fmt::format("{}: holds tensor {}, but {} does not say so",
                                                  file, tensor.name, kWeightsIndexFile));
  }
  return absl::OkStatus();
}

absl::Status CheckIndex(const WeightMap& weights, const std::vector<SafetensorsFile>& shards) {
  std::map<std::string, const SafetensorsFile*> by_name;
  for (const SafetensorsFile& shard : shards) {
    RETURN_IF_ERROR(CheckShard(shard, weights));
    by_name[shard.path().filename().string()] = &shard;
  }
  for (const auto& [tensor, file] : weights) {
    if (by_name.at(file)->Find(tensor) != nullptr) continue;
    return absl::InvalidArgumentError(fmt::format("{}: tensor {} is missing, {} says it is there",
                                                  file, tensor, kWeightsIndexFile));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::filesystem::path& directory) {
  if (std::error_code error; !std::filesystem::is_directory(directory, error)) {
    return absl::NotFoundError(fmt::format("{} is not a folder", directory.string()));
  }
  std::vector<SafetensorsFile> shards;
  if (IsThere(directory / kWeightsIndexFile)) {
    ASSIGN_OR_RETURN(const WeightMap weights, ReadIndex(directory / kWeightsIndexFile));
    ASSIGN_OR_RETURN(shards, OpenShards(directory, weights));
    RETURN_IF_ERROR(CheckIndex(weights, shards));
  } else if (IsThere(directory / kSingleWeightsFile)) {
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(directory / kSingleWeightsFile));
    shards.push_back(std::move(file));
  } else {
    return absl::NotFoundError(
        fmt::format("{} holds no weights (neither {} nor {}); transformers' save_pretrained() "
                    "writes them in this form",
                    directory.string(), kSingleWeightsFile, kWeightsIndexFile));
  }
  return Checkpoint(directory, std::move(shards));
}

Checkpoint::Checkpoint(std::filesystem::path directory, std::vector<SafetensorsFile> shards)
    : directory_(std::move(directory)), shards_(std::move(shards)) {
  for (const SafetensorsFile& shard : shards_) {
    for (const TensorView& tensor : shard.tensors()) tensors_[tensor.name] = &tensor;
  }
}

const TensorView* Checkpoint::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second;
}

absl::StatusOr<TensorView> Checkpoint::Get(std::string_view name) const {
  const TensorView* tensor = Find(name);
  if (tensor != nullptr) return *tensor;
  return absl::NotFoundError(fmt::format("{} has no tensor {}", directory_.string(), name));
}

int64_t Checkpoint::parameter_count() const {
  int64_t count = 0;
  for (const auto& [name, tensor] : tensors_) count += tensor->value_count();
  return count;
}

int64_t Checkpoint::weight_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors_) bytes += static_cast<int64_t>(tensor->bytes.size());
  return bytes;
}

}  // namespace fedtune
