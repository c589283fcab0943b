// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <map>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/base_model_description.h"

namespace fedtune {

struct LocalBaseModel {
  std::filesystem::path directory;
  BaseModelDescription description;  // With its digest.
};

// The base models on this machine. A folder is read when it is first asked
// about, which takes as long as reading all of its weights. Not thread-safe.
class BaseModelShelf {
 public:
  explicit BaseModelShelf(std::vector<std::filesystem::path> directories)
      : directories_(std::move(directories)) {}

  // NOT_FOUND: no folder holds this base model; says what is wrong with those
  // that cannot be read.
  absl::StatusOr<LocalBaseModel> Find(std::string_view digest);

 private:
  absl::StatusOr<LocalBaseModel> Read(const std::filesystem::path& directory);

  const std::vector<std::filesystem::path> directories_;
  std::map<std::filesystem::path, LocalBaseModel> read_;
};

// One folder's shape and digest.
// NOT_FOUND, INVALID_ARGUMENT: as DescribeBaseModel() and BaseModelDigest().
absl::StatusOr<LocalBaseModel> ReadBaseModel(const std::filesystem::path& directory);

}  // namespace fedtune
