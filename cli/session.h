// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "cli/configuration.h"
#include "cli/coordinator_connection.h"

namespace fedtune {

// What all commands share: the flags of the program. main() has one, which parsing the command
// line fills before a command runs; from then on nobody changes it, and threads may share it.
// Each call below reads files anew and keeps nothing.
struct Session {
  ConfigurationFlags flags;
  bool json = false;  // Results are for machines.

  // Errors as LoadConfiguration().
  absl::StatusOr<Configuration> Configure() const { return LoadConfiguration(flags); }

  // A line to the coordinator of the configuration; nothing is sent yet. Errors as Configure()
  // and CoordinatorConnection::Open().
  absl::StatusOr<CoordinatorConnection> Connect() const;

  // The federation's authority certificate, in PEM, for what needs nothing else: of --authority,
  // without any configuration, or else of that. Whether it is one is not looked at.
  // INVALID_ARGUMENT: it is not there, or may not be read. Otherwise as ReadNamedFile() and
  // Configure().
  absl::StatusOr<std::string> ReadAuthority() const;
};

// --config, --coordinator, --certificate, --key, --authority, --revocation-list, --models, of the
// program and not of one command. Parsing fills `flags`, which must live as long.
void AddConfigurationFlags(CLI::App& root, ConfigurationFlags& flags);

// --json, for a command that prints results. Parsing fills `session`, which must live as long.
void AddJsonFlag(CLI::App& command, Session& session);

}  // namespace fedtune
