// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/checkpoint.h"

#include <algorithm>
#include <array>
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

// As transformers does: which shards there are says the index, and what is in them they
// say themselves.
absl::Status CheckDistinct(const std::vector<SafetensorsFile>& shards) {
  struct Holder {
    const SafetensorsFile* shard;
    std::string_view tensor;
  };
  std::map<std::string, Holder> holders;
  for (const SafetensorsFile& shard : shards) {
    for (const TensorView& tensor : shard.tensors()) {
      const auto [place, is_first] =
          holders.emplace(UsualName(tensor.name), Holder{&shard, tensor.name});
      if (is_first) continue;
      const Holder& other = place->second;
      const std::string named = other.tensor == tensor.name ? "" : fmt::format(" {}", other.tensor);
      return absl::InvalidArgumentError(fmt::format(
          "{}: holds tensor {}, and so does {}{}; one of them is not of this model",
          shard.path().string(), tensor.name, other.shard->path().filename().string(), named));
    }
  }
  return absl::OkStatus();
}

// Those that the index has in a shard which does not hold them.
WeightMap NotHeld(const WeightMap& weights, const std::vector<SafetensorsFile>& shards) {
  WeightMap usual;
  for (const auto& [tensor, file] : weights) usual.emplace(UsualName(tensor), file);
  for (const SafetensorsFile& shard : shards) {
    for (const TensorView& tensor : shard.tensors()) usual.erase(UsualName(tensor.name));
  }
  return usual;
}

absl::Status NoWeights(const std::filesystem::path& directory) {
  std::error_code unreadable_is_empty;
  for (const auto& entry : std::filesystem::directory_iterator(directory, unreadable_is_empty)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("model-") || !name.ends_with(".safetensors")) continue;
    return absl::NotFoundError(fmt::format(
        "{}: {} is missing, which lists the parts of the model, such as {}: the copy is "
        "incomplete",
        directory.string(), kWeightsIndexFile, name));
  }
  return absl::NotFoundError(
      fmt::format("{} holds no weights (neither {} nor {}); transformers' save_pretrained() "
                  "writes them in this form",
                  directory.string(), kSingleWeightsFile, kWeightsIndexFile));
}

// transformers reads the single file then, whatever the index says.
absl::Status RefuseBoth(const std::filesystem::path& directory) {
  return absl::InvalidArgumentError(
      fmt::format("{}: there are weights in {}, and {} lists others; remove those that are not "
                  "the model's",
                  directory.string(), kSingleWeightsFile, kWeightsIndexFile));
}

bool IsTheSingleFile(const std::vector<SafetensorsFile>& shards) {
  return shards.size() == 1 && shards.front().path().filename() == kSingleWeightsFile;
}

}  // namespace

std::string UsualName(std::string_view stored) {
  constexpr std::array<std::string_view, 3> kParts = {"layers.", "embed_tokens.", "norm."};
  const bool lacks_prefix = std::any_of(kParts.begin(), kParts.end(), [&](std::string_view part) {
    return stored.starts_with(part);
  });
  return fmt::format("{}{}", lacks_prefix ? "model." : "", stored);
}

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::filesystem::path& directory) {
  if (std::error_code error; !std::filesystem::is_directory(directory, error)) {
    return absl::NotFoundError(fmt::format("{} is not a folder", directory.string()));
  }
  const bool has_single = IsThere(directory / kSingleWeightsFile);
  std::vector<SafetensorsFile> shards;
  WeightMap not_held;
  if (IsThere(directory / kWeightsIndexFile)) {
    ASSIGN_OR_RETURN(const WeightMap weights, ReadIndex(directory / kWeightsIndexFile));
    ASSIGN_OR_RETURN(shards, OpenShards(directory, weights));
    if (has_single && !IsTheSingleFile(shards)) return RefuseBoth(directory);
    not_held = NotHeld(weights, shards);
  } else if (has_single) {
    ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(directory / kSingleWeightsFile));
    shards.push_back(std::move(file));
  } else {
    return NoWeights(directory);
  }
  RETURN_IF_ERROR(CheckDistinct(shards));
  return Checkpoint(directory, std::move(shards), std::move(not_held));
}

Checkpoint::Checkpoint(std::filesystem::path directory, std::vector<SafetensorsFile> shards,
                       std::map<std::string, std::string> not_held)
    : directory_(std::move(directory)), shards_(std::move(shards)), not_held_(std::move(not_held)) {
  for (const SafetensorsFile& shard : shards_) {
    for (const TensorView& tensor : shard.tensors()) tensors_[UsualName(tensor.name)] = &tensor;
  }
}

const TensorView* Checkpoint::Find(std::string_view name) const {
  const auto found = tensors_.find(UsualName(name));
  return found == tensors_.end() ? nullptr : found->second;
}

absl::StatusOr<TensorView> Checkpoint::Get(std::string_view name) const {
  const TensorView* tensor = Find(name);
  if (tensor != nullptr) return *tensor;
  if (const auto listed = not_held_.find(UsualName(name)); listed != not_held_.end()) {
    return absl::NotFoundError(fmt::format("{}: tensor {} is missing, {} says it is there",
                                           (directory_ / listed->second).string(), name,
                                           kWeightsIndexFile));
  }
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
