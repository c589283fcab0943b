// SPDX-License-Identifier: Apache-2.0

#include "coordinator/coordinator_config.h"

#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/toml.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

using std::filesystem::path;

constexpr int64_t kFewestAdapters = 2;
constexpr int64_t kMostAdapters = 1'000'000;
constexpr int64_t kMostBackupMinutes = 7 * 24 * 60;
constexpr int64_t kMostBackups = 10'000;
constexpr int64_t kMostConnections = 1'000'000;

// A path of the file starts in the file's folder, a flag's in the working
// directory. Without either the path stays as it is.
void ReadPath(TomlSection& root, std::string_view key, const path& folder, path& field) {
  std::string text;
  root.OptionalName(key, text);
  if (!text.empty()) field = folder / text;
}

template <typename T, typename U>
void Override(const std::optional<T>& flag, U& field) {
  if (flag.has_value()) field = *flag;
}

absl::Status CheckGivenPaths(const CoordinatorFlags& flags) {
  const std::pair<std::string_view, const std::optional<std::string>&> paths[] = {
      {"--state-dir", flags.state_dir},
      {"--certificate", flags.certificate},
      {"--key", flags.key},
      {"--authority", flags.authority},
      {"--signing-roster", flags.signing_roster},
      {"--revocation-list", flags.revocation_list},
      {"--backup-dir", flags.backup_dir}};
  for (const auto& [flag, path] : paths) {
    if (!path.has_value() || !path->empty()) continue;
    return absl::InvalidArgumentError(
        fmt::format("{} must not be empty; to go without it, leave it out", flag));
  }
  return absl::OkStatus();
}

absl::StatusOr<Log::Format> ParseLogFormat(std::string_view text) {
  if (text == "text") return Log::Format::kKeyValue;
  if (text == "json") return Log::Format::kJson;
  return absl::InvalidArgumentError(
      fmt::format("log_format \"{}\" is unknown; choose text or json", text));
}

// It clears up in folders of its own, and takes what it does not know there for damage.
absl::Status CheckBackupFolder(const CoordinatorConfig& config) {
  const path inside =
      config.backup_dir.lexically_normal().lexically_relative(config.state_dir.lexically_normal());
  const path first = inside.empty() ? path() : *inside.begin();
  if (first != "." && first != "blobs" && first != "spool" && first != "keys") {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("backup_dir is {}, which the coordinator uses for other things; choose a folder "
                  "outside of {}, or leave backup_dir out",
                  config.backup_dir.string(), config.state_dir.string()));
}

absl::Status CheckBackups(const CoordinatorConfig& config) {
  if (config.backup_minutes < 0 || config.backup_minutes > kMostBackupMinutes) {
    return absl::InvalidArgumentError(
        fmt::format("backup_minutes is {}; it must be from 1 to {}, or 0 for no backups",
                    config.backup_minutes, kMostBackupMinutes));
  }
  if (config.keep_backups < 1 || config.keep_backups > kMostBackups) {
    return absl::InvalidArgumentError(fmt::format("keep_backups is {}; it must be from 1 to {}",
                                                  config.keep_backups, kMostBackups));
  }
  return CheckBackupFolder(config);
}

absl::Status Check(const CoordinatorConfig& config) {
  if (config.state_dir.empty()) {
    return absl::InvalidArgumentError(
        "say where the coordinator keeps its runs: state_dir in the file, or --state-dir");
  }
  if (config.keep_adapters < kFewestAdapters || config.keep_adapters > kMostAdapters) {
    return absl::InvalidArgumentError(fmt::format("keep_adapters is {}; it must be from {} to {}",
                                                  config.keep_adapters, kFewestAdapters,
                                                  kMostAdapters));
  }
  if (config.connections_per_address < 1 || config.connections_per_address > kMostConnections) {
    return absl::InvalidArgumentError(
        fmt::format("connections_per_address is {}; it must be from 1 to {}",
                    config.connections_per_address, kMostConnections));
  }
  return CheckBackups(config);
}

}  // namespace

absl::StatusOr<CoordinatorConfig> ParseCoordinatorConfig(std::string_view toml, const path& source,
                                                         const CoordinatorFlags& flags) {
  ASSIGN_OR_RETURN(TomlDocument document, TomlDocument::Parse(toml, source.string()));
  TomlSection root = document.root();
  const path folder = source.parent_path();
  CoordinatorConfig config;
  CredentialFiles given;
  std::string log_format = "text";
  root.Optional("listen", config.listen);
  ReadPath(root, "state_dir", folder, config.state_dir);
  ReadPath(root, "certificate", folder, given.certificate);
  ReadPath(root, "key", folder, given.key);
  ReadPath(root, "authority", folder, given.authority);
  ReadPath(root, "signing_roster", folder, config.signing_roster);
  ReadPath(root, "revocation_list", folder, config.revocation_list);
  root.Optional("keep_adapters", config.keep_adapters);
  ReadPath(root, "backup_dir", folder, config.backup_dir);
  root.Optional("backup_minutes", config.backup_minutes);
  root.Optional("keep_backups", config.keep_backups);
  root.Optional("connections_per_address", config.connections_per_address);
  root.Optional("log_format", log_format);
  RETURN_IF_ERROR(document.Finish());
  RETURN_IF_ERROR(CheckGivenPaths(flags));

  Override(flags.listen, config.listen);
  Override(flags.state_dir, config.state_dir);
  Override(flags.certificate, given.certificate);
  Override(flags.key, given.key);
  Override(flags.authority, given.authority);
  Override(flags.signing_roster, config.signing_roster);
  Override(flags.revocation_list, config.revocation_list);
  Override(flags.keep_adapters, config.keep_adapters);
  Override(flags.backup_dir, config.backup_dir);
  Override(flags.backup_minutes, config.backup_minutes);
  Override(flags.keep_backups, config.keep_backups);
  Override(flags.connections_per_address, config.connections_per_address);
  Override(flags.log_format, log_format);
  if (config.backup_dir.empty()) config.backup_dir = config.state_dir / "backups";
  config.credentials = FilesIn(config.state_dir / "keys");
  if (!given.certificate.empty()) config.credentials.certificate = given.certificate;
  if (!given.key.empty()) config.credentials.key = given.key;
  if (!given.authority.empty()) config.credentials.authority = given.authority;
  ASSIGN_OR_RETURN(config.log_format, ParseLogFormat(log_format));
  RETURN_IF_ERROR(Check(config));
  return config;
}

absl::StatusOr<CoordinatorConfig> LoadCoordinatorConfig(const path& file,
                                                        const CoordinatorFlags& flags) {
  if (file.empty()) return ParseCoordinatorConfig("", "", flags);
  ASSIGN_OR_RETURN(const std::string toml, ReadNamedFile(file));
  return ParseCoordinatorConfig(toml, file, flags);
}

}  // namespace fedtune
