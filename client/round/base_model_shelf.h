// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/base_model_digest.h"

namespace fedtune {

struct LocalBaseModel {
  std::filesystem::path directory;
  BaseModelDescription description;  // With its digest.
  std::string earlier_digest;        // BaseModelDigests::earlier.
  std::vector<ModelFile> files;      // That have these digests.
};

// Told the share of a folder that is read.
using ModelObserver = std::function<void(double fraction)>;

// The base models on this machine. A folder is read when it is first asked about, and again
// once a file of it has changed, which takes as long as reading all of its weights.
// Thread-safe; who asks while a folder is read waits.
class BaseModelShelf {
 public:
  // `observer_of` gives an observer for each folder that is read.
  using ObserverOfFolder = std::function<ModelObserver(const std::filesystem::path& directory)>;

  explicit BaseModelShelf(
      std::vector<std::filesystem::path> directories,
      ObserverOfFolder observer_of = [](const auto&) { return [](double) {}; })
      : directories_(std::move(directories)), observer_of_(std::move(observer_of)) {}

  // By either of its digests. NOT_FOUND: no folder holds this base model; says what is wrong with
  // those that cannot be read.
  absl::StatusOr<LocalBaseModel> Find(std::string_view digest);

 private:
  absl::StatusOr<LocalBaseModel> Read(const std::filesystem::path& directory);

  std::mutex mutex_;
  const std::vector<std::filesystem::path> directories_;
  const ObserverOfFolder observer_of_;
  std::map<std::filesystem::path, LocalBaseModel> read_;  // Guarded by mutex_.
};

// One folder's shape and digest.
// NOT_FOUND, INVALID_ARGUMENT: as DescribeBaseModel() and DigestBaseModel(). INTERNAL: so, too;
// a file was changed meanwhile.
absl::StatusOr<LocalBaseModel> ReadBaseModel(
    const std::filesystem::path& directory, const ModelObserver& observe = [](double) {});

}  // namespace fedtune
