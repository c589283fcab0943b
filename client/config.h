// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/logging.h"
#include "client/training/recompute.h"
#include "privacy/identity/key_directory.h"

namespace fedtune {

// Records of one kind, as JSON lines.
struct DatasetConfig {
  std::string name;
  std::filesystem::path train;
  std::filesystem::path eval;  // Empty: this data set is not evaluated on.

  friend bool operator==(const DatasetConfig&, const DatasetConfig&) = default;
};

// Whether memory_gb may be so many: above 0 and at most 1,000,000.
constexpr bool IsMemorySize(double gigabytes) { return gigabytes > 0 && gigabytes <= 1e6; }

// What client.toml says. Paths in the file are relative to its folder.
struct ClientConfig {
  std::string coordinator;  // "host:port"
  std::string institution;
  std::filesystem::path state_dir;
  CredentialFiles credentials;                     // In state_dir/keys by default.
  std::vector<std::filesystem::path> base_models;  // Folders.
  std::filesystem::path revocation_list;           // Empty: no coordinator is revoked.
  std::filesystem::path federation_key;            // Empty: the federation has none.
  std::filesystem::path policy;  // Empty: every run on these base models is allowed.
  std::vector<DatasetConfig> datasets;
  std::string device = "auto";     // Or "cpu", "cuda:0".
  int64_t threads = 0;             // 0: all cores.
  double checkpoint_seconds = 60;  // Work that may be lost with the process; 0: a whole round's.
  Recompute recompute = Recompute::kAuto;
  std::optional<double> memory_gb;  // A training may use; none: what the machine has.
  Log::Format log_format = Log::Format::kKeyValue;
};

// The same keys as command-line flags; what is set here wins over the file.
// Paths are relative to the working directory.
struct ClientFlags {
  std::optional<std::string> coordinator;
  std::optional<std::string> institution;
  std::optional<std::string> state_dir;
  std::optional<std::string> certificate;
  std::optional<std::string> key;
  std::optional<std::string> authority;
  std::optional<std::string> revocation_list;
  std::optional<std::string> signing_key;
  std::optional<std::string> signing_certificate;
  std::optional<std::string> federation_key;
  std::vector<std::string> base_models;
  std::optional<std::string> policy;
  std::vector<std::string> datasets;  // "NAME:TRAIN" or "NAME:TRAIN:EVAL"
  std::optional<std::string> device;
  std::optional<int64_t> threads;
  std::optional<double> checkpoint_seconds;
  std::optional<std::string> recompute;
  std::optional<double> memory_gb;
  std::optional<std::string> log_format;
};

// Parses client.toml. `source` names the file in messages; its folder is where
// relative paths start. It is empty when there is no file, only flags: messages
// then speak of flags.
//
// INVALID_ARGUMENT: everything that is wrong with file and flags, a line each.
absl::StatusOr<ClientConfig> ParseClientConfig(std::string_view toml,
                                               const std::filesystem::path& source,
                                               const ClientFlags& flags);

// INVALID_ARGUMENT: no such file; else as ParseClientConfig.
absl::StatusOr<ClientConfig> LoadClientConfig(const std::filesystem::path& file,
                                              const ClientFlags& flags);

}  // namespace fedtune
