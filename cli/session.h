// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

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

  // The federation's authority certificate, in PEM, for what needs nothing else: of --authority,
  // without any configuration, or else of that. INVALID_ARGUMENT: it is not there.
  absl::StatusOr<std::string> ReadAuthority() const;
};

// --config, --coordinator, --certificate, --key, --authority, --revocation-list, --models.
void AddConfigurationFlags(CLI::App& root, ConfigurationFlags& flags);

// --json, for a command that prints results.
void AddJsonFlag(CLI::App& command, Session& session);

}  // namespace fedtune
