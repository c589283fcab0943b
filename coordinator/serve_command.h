// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>

#include "base/command_line.h"
#include "coordinator/coordinator_config.h"

namespace fedtune {

struct ServeOptions {
  std::filesystem::path file;  // coordinator.toml; may be empty.
  CoordinatorFlags flags;
};

// `fedtune-coordinator serve`: runs the coordinator until SIGTERM or SIGINT, then
// lets what is under way come to its end (Server::Shutdown()). A second signal, or 30
// seconds, end the process at once with the exit code 1; so does a database that
// cannot be used any more. `options` must outlive `line`.
void AddServe(CommandLine& line, ServeOptions& options);

}  // namespace fedtune
