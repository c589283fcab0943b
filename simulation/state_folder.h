// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"

namespace fedtune::simulation {

// An empty folder for a simulated coordinator: the one that was asked for, which stays,
// or a temporary one, in memory where there is such a place, as the database is synced
// at every commit.
class StateFolder {
 public:
  // INVALID_ARGUMENT: `wanted` is not empty. INTERNAL: none can be made.
  static absl::StatusOr<StateFolder> Make(const std::optional<std::filesystem::path>& wanted);

  StateFolder(StateFolder&& other) noexcept
      : path_(std::move(other.path_)), temporary_(std::exchange(other.temporary_, false)) {}
  StateFolder& operator=(StateFolder&&) = delete;
  ~StateFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  StateFolder(std::filesystem::path path, bool temporary)
      : path_(std::move(path)), temporary_(temporary) {}

  std::filesystem::path path_;
  bool temporary_;
};

}  // namespace fedtune::simulation
