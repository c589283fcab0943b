// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace fedtune {

// What fedtune.toml says. Paths in the file are relative to its folder.
struct Configuration {
  std::string coordinator;                    // "host:port"
  std::filesystem::path certificate;          // keys/certificate.pem beside the file by default.
  std::filesystem::path key;                  // keys/key.pem
  std::filesystem::path authority;            // keys/authority.pem
  std::filesystem::path revocation_list;      // Empty: no coordinator is revoked.
  std::vector<std::filesystem::path> models;  // Folders that hold base models.
};

// The same keys as command-line flags; what is set here wins over the file.
// Paths are relative to the working directory.
struct ConfigurationFlags {
  std::optional<std::string> file;  // --config
  std::optional<std::string> coordinator;
  std::optional<std::string> certificate;
  std::optional<std::string> key;
  std::optional<std::string> authority;
  std::optional<std::string> revocation_list;
  std::vector<std::string> models;
};

// $XDG_CONFIG_HOME/fedtune/fedtune.toml, or ~/.config/fedtune/fedtune.toml.
std::filesystem::path DefaultConfigurationFile();

// `source` names the file in messages; its folder is where relative paths start.
// INVALID_ARGUMENT: everything that is wrong with it, a line each.
absl::StatusOr<Configuration> ParseConfiguration(std::string_view toml,
                                                 const std::filesystem::path& source,
                                                 const ConfigurationFlags& flags);

// The file of --config, or the default one, which may be absent.
// INVALID_ARGUMENT: the file of --config does not exist.
absl::StatusOr<Configuration> LoadConfiguration(const ConfigurationFlags& flags);

}  // namespace fedtune
