// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/logging.h"
#include "privacy/identity/key_directory.h"

namespace fedtune {

// What coordinator.toml says. Paths in the file are relative to its folder.
struct CoordinatorConfig {
  std::string listen = "0.0.0.0:7443";
  std::filesystem::path state_dir;
  CredentialFiles credentials;  // state_dir/keys/{key,certificate,authority}.pem by default.
  std::filesystem::path signing_roster;   // Empty: only plain runs.
  std::filesystem::path revocation_list;  // Empty: nobody is revoked.
  int64_t keep_adapters = 3;              // The newest adapters of a run that are kept; at least 2.
  std::filesystem::path backup_dir;       // state_dir/backups by default.
  int64_t backup_minutes = 60;            // From one backup to the next; 0: none are made.
  int64_t keep_backups = 24;              // The newest backups that are kept; at least 1.
  int64_t connections_per_address = 256;  // New ones within 10 seconds; at least 1.
  Log::Format log_format = Log::Format::kKeyValue;
};

// The same keys as command-line flags; what is set here wins over the file.
// Paths are relative to the working directory.
struct CoordinatorFlags {
  std::optional<std::string> listen;
  std::optional<std::string> state_dir;
  std::optional<std::string> certificate;
  std::optional<std::string> key;
  std::optional<std::string> authority;
  std::optional<std::string> signing_roster;
  std::optional<std::string> revocation_list;
  std::optional<int64_t> keep_adapters;
  std::optional<std::string> backup_dir;
  std::optional<int64_t> backup_minutes;
  std::optional<int64_t> keep_backups;
  std::optional<int64_t> connections_per_address;
  std::optional<std::string> log_format;
};

// Parses coordinator.toml. `source` names the file in messages; its folder is
// where relative paths start.
//
// INVALID_ARGUMENT: everything that is wrong with the file, a line each, or what
// is wrong with a flag.
absl::StatusOr<CoordinatorConfig> ParseCoordinatorConfig(std::string_view toml,
                                                         const std::filesystem::path& source,
                                                         const CoordinatorFlags& flags);

// As above; an empty `file` is one without keys. INVALID_ARGUMENT: no such file.
absl::StatusOr<CoordinatorConfig> LoadCoordinatorConfig(const std::filesystem::path& file,
                                                        const CoordinatorFlags& flags);

}  // namespace fedtune
