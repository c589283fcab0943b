// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>

#include "base/command_line.h"
#include "coordinator/coordinator_config.h"

namespace fedtune {

struct StorageOptions {
  std::filesystem::path file;  // coordinator.toml; may be empty.
  CoordinatorFlags flags;
  std::filesystem::path from;  // What `restore` restores.
  bool json = false;           // What `check` prints.
};

// `fedtune-coordinator backup`, `restore` and `check`. `options` must outlive `line`.
void AddStorageCommands(CommandLine& line, StorageOptions& options);

}  // namespace fedtune
