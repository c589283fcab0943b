// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "base/descriptor.h"

namespace fedtune::simulation {

// An empty folder for a simulated coordinator: the one that was asked for, which stays,
// or a temporary one, in memory where there is such a place, as the database is synced
// at every commit. A temporary one is gone with this object, or with the process, however
// that ends: a small process beside it waits for the end.
class StateFolder {
 public:
  // INVALID_ARGUMENT: `wanted` is not empty. INTERNAL: none can be made.
  static absl::StatusOr<StateFolder> Make(const std::optional<std::filesystem::path>& wanted);

  StateFolder(StateFolder&& other) noexcept = default;
  StateFolder& operator=(StateFolder&&) = delete;
  ~StateFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit StateFolder(std::filesystem::path path) : path_(std::move(path)) {}

  static absl::StatusOr<StateFolder> MakeTemporary(std::filesystem::path path);

  std::filesystem::path path_;
  // Of a temporary one: what is open until the end, and the process that waits for it.
  std::unique_ptr<const Descriptor> open_;
  pid_t remover_ = -1;
};

}  // namespace fedtune::simulation
