// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "cli/configuration.h"
#include "cli/coordinator_connection.h"

namespace fedtune {

// What all commands share: the flags of the program.
struct Session {
  ConfigurationFlags flags;
  bool json = false;

  absl::StatusOr<Configuration> Configure() const { return LoadConfiguration(flags); }
  absl::StatusOr<CoordinatorConnection> Connect() const;
};

// --config, --coordinator, --certificate, --key, --authority, --revocation-list, --models.
void AddConfigurationFlags(CLI::App& root, ConfigurationFlags& flags);

// --json, for a command that prints results.
void AddJsonFlag(CLI::App& command, Session& session);

}  // namespace fedtune
