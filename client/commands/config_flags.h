// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <optional>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "client/config.h"

namespace fedtune {

// Where a command gets its configuration from.
struct ConfigSource {
  std::optional<std::filesystem::path> file;  // --config
  ClientFlags flags;

  // Without --config, ./client.toml is read if there is one.
  absl::StatusOr<ClientConfig> Load() const;
};

// Adds --config and a flag for each of its keys.
void AddConfigFlags(CLI::App& command, ConfigSource& source);

}  // namespace fedtune
