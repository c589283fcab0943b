// SPDX-License-Identifier: Apache-2.0

#include "cli/session.h"

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"

namespace fedtune {

absl::StatusOr<CoordinatorConnection> Session::Connect() const {
  ASSIGN_OR_RETURN(const Configuration configuration, Configure());
  return CoordinatorConnection::Open(configuration);
}

absl::StatusOr<std::string> Session::ReadAuthority() const {
  if (flags.authority.has_value()) return ReadNamedFile(*flags.authority);
  ASSIGN_OR_RETURN(const Configuration configuration, Configure());
  absl::StatusOr<std::string> pem = ReadNamedFile(configuration.authority);
  if (pem.ok()) return pem;
  return Annotate(pem.status(),
                  "name the federation's authority certificate with --authority, as it is not "
                  "where the configuration has it");
}

void AddConfigurationFlags(CLI::App& root, ConfigurationFlags& flags) {
  root.add_option("--config", flags.file,
                  "Configuration file (default: fedtune.toml in "
                  "~/.config/fedtune)");
  root.add_option("--coordinator", flags.coordinator, "host:port of the coordinator");
  root.add_option("--certificate", flags.certificate, "The administrator's certificate");
  root.add_option("--key", flags.key, "Its private key");
  root.add_option("--authority", flags.authority, "The federation's authority certificate");
  root.add_option("--revocation-list", flags.revocation_list,
                  "The certificates that the custodian has revoked: no coordinator of them");
  root.add_option("--models", flags.models, "A folder that holds base models; may be repeated")
      ->allow_extra_args(false);  // What follows is a command, or its argument.
}

void AddJsonFlag(CLI::App& command, Session& session) {
  command.add_flag("--json", session.json, "Print JSON for machines");
}

}  // namespace fedtune
