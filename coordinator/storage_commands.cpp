// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage_commands.h"

#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "coordinator/storage/backup.h"
#include "coordinator/storage/file_owner.h"
#include "coordinator/storage/kept_backups.h"
#include "coordinator/storage/state_check.h"
#include "fmt/format.h"
#include "privacy/identity/expiry.h"
#include "privacy/identity/key_directory.h"
#include "privacy/identity/revocations.h"

namespace fedtune {
namespace {

// A line for each task of a command.
class ShownProgress {
 public:
  TaskProgress progress() {
    return [this](std::string_view task, double fraction) {
      if (line_ == nullptr || task != task_) {
        task_ = task;
        line_.reset();
        line_ = std::make_unique<ProgressLine>(task_, clock_);
      }
      line_->Update(fraction);
      return true;
    };
  }

  // Nothing of it stands on the terminal any more.
  void End() { line_.reset(); }

 private:
  const SystemClock clock_ = {};
  std::string task_;
  std::unique_ptr<ProgressLine> line_;
};

std::string Rfc3339(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

absl::Status MakeBackup(const StorageOptions& options) {
  ASSIGN_OR_RETURN(const CoordinatorConfig config,
                   LoadCoordinatorConfig(options.file, options.flags));
  RETURN_IF_ERROR(CheckIsNotAnothers(config.backup_dir, ::geteuid()));
  ShownProgress shown;
  const auto made =
      BackUp(config.state_dir, config.backup_dir, SystemClock().Now(), "", shown.progress());
  shown.End();
  RETURN_IF_ERROR(made.status());
  fmt::print("{}\n", made->string());
  return absl::OkStatus();
}

absl::Status RestoreBackup(const StorageOptions& options) {
  ASSIGN_OR_RETURN(const CoordinatorConfig config,
                   LoadCoordinatorConfig(options.file, options.flags));
  RETURN_IF_ERROR(CheckIsNotAnothers(config.state_dir, ::geteuid()));
  ShownProgress shown;
  const absl::Status restored = Restore(options.from, config.state_dir, shown.progress());
  shown.End();
  RETURN_IF_ERROR(restored);
  fmt::print(
      "{} is as it was in {}\n"
      "The audit log was rolled back with it. Clients that have seen more of it will take no part "
      "until an administrator of their institution has said \"fedtune-client log accept\": tell "
      "them that a backup was restored, and of when. Which entries are missing cannot be known "
      "here.\n",
      config.state_dir.string(), options.from.string());
  return absl::OkStatus();
}

// Nothing: none is configured. What is wrong with it ends a coordinator's start.
absl::StatusOr<std::optional<RevocationList>> CheckRevocations(const CoordinatorConfig& config,
                                                               absl::Time now) {
  ASSIGN_OR_RETURN(const std::shared_ptr<Revocations> revocations,
                   Revocations::Open(config.revocation_list, config.credentials.authority,
                                     config.state_dir / kKeptRevocationList));
  if (revocations == nullptr) return std::nullopt;
  const auto own = LoadCredentials(config.credentials, Role::kCoordinator, now);
  if (own.ok()) RETURN_IF_ERROR(revocations->CheckNotRevoked(own->certificate));
  return *revocations->list();
}

nlohmann::ordered_json RevocationsToJson(const std::optional<RevocationList>& list) {
  if (!list.has_value()) return nullptr;
  return {{"number", list->number()},
          {"signed_at", Rfc3339(list->signed_at())},
          {"revoked", list->size()}};
}

nlohmann::ordered_json ReportToJson(const StateReport& report, const CoordinatorConfig& config,
                                    const std::vector<Expiry>& expiring) {
  nlohmann::ordered_json json = {{"state_dir", config.state_dir.string()},
                                 {"schema", report.schema},
                                 {"runs", report.runs},
                                 {"blobs", report.blobs},
                                 {"log_entries", report.log_entries},
                                 {"bytes", report.bytes},
                                 {"problems", report.problems}};
  json["expiring"] = nlohmann::ordered_json::array();
  for (const Expiry& expiry : expiring) {
    json["expiring"].push_back({{"whose", expiry.whose}, {"not_after", Rfc3339(expiry.not_after)}});
  }
  return json;
}

void Tell(const StateReport& report, const std::string& directory) {
  for (const std::string& problem : report.problems) fmt::print("{}\n", problem);
  if (!report.problems.empty()) return;
  fmt::print("{}: schema {}, {} runs, {} blobs, {} entries of the audit log, {}: all is well\n",
             directory, report.schema, report.runs, report.blobs, report.log_entries,
             HumanBytes(report.bytes));
}

absl::Status Check(const StorageOptions& options) {
  ASSIGN_OR_RETURN(const CoordinatorConfig config,
                   LoadCoordinatorConfig(options.file, options.flags));
  ShownProgress shown;
  const auto report = CheckState(config.state_dir, shown.progress());
  shown.End();
  RETURN_IF_ERROR(report.status());
  const std::string directory = config.state_dir.string();
  const absl::Time now = SystemClock().Now();
  const std::vector<Expiry> expiring = ExpiringSoon(config.credentials, now);
  const auto revocations = CheckRevocations(config, now);
  if (options.json) {
    nlohmann::ordered_json json = ReportToJson(*report, config, expiring);
    json["revocation_list"] = RevocationsToJson(revocations.value_or(std::nullopt));
    fmt::print("{}", JsonLine(json));
  } else {
    Tell(*report, directory);
    if (revocations.ok() && revocations->has_value()) {
      fmt::print("revocation list: {}\n", Describe(**revocations));
    }
  }
  WarnOfExpiry(expiring, now);
  if (!report->problems.empty()) {
    return absl::DataLossError(
        IsBackup(config.state_dir)
            ? fmt::format("{} is damaged; use an older backup", directory)
            : fmt::format("{} is damaged; stop the coordinator, move all of the folder but keys "
                          "and backups away, and restore the last backup: fedtune-coordinator "
                          "restore",
                          directory));
  }
  return revocations.status();
}

void AddPlace(CLI::App& command, StorageOptions& options) {
  command.add_option("--config", options.file, "coordinator.toml");
  command.add_option("--state-dir", options.flags.state_dir, "The coordinator's state directory");
}

}  // namespace

void AddStorageCommands(CommandLine& line, StorageOptions& options) {
  CLI::App& backup = line.Add(
      {"backup",
       "Makes a backup of the state directory, while the coordinator runs or not, and prints its "
       "path.",
       {"fedtune-coordinator backup --config /etc/fedtune/coordinator.toml",
        "fedtune-coordinator backup --state-dir ./coordinator --backup-dir /mnt/backup"}},
      [&] { return MakeBackup(options); });
  AddPlace(backup, options);
  backup.add_option("--backup-dir", options.flags.backup_dir,
                    "The folder of backups (backups in the state directory)");

  CLI::App& restore = line.Add(
      {"restore",
       "Restores a backup into an empty state directory (keys, backups and revocation_list.pem may "
       "be there). Clients will see that the audit log was rolled back, and each institution has "
       "to "
       "accept it.",
       {"fedtune-coordinator restore --from /mnt/backup/fedtune-20261126T040000Z "
        "--state-dir ./coordinator"}},
      [&] { return RestoreBackup(options); });
  AddPlace(restore, options);
  restore.add_option("--from", options.from, "The backup, a folder")->required();

  CLI::App& check =
      line.Add({"check",
                "Reads a state directory, or a backup, to its end and says what is damaged.",
                {"fedtune-coordinator check --config /etc/fedtune/coordinator.toml",
                 "fedtune-coordinator check --state-dir /mnt/backup/fedtune-20261126T040000Z",
                 "fedtune-coordinator check --config /etc/fedtune/coordinator.toml --json"}},
               [&] { return Check(options); });
  AddPlace(check, options);
  check.add_flag("--json", options.json, "One JSON object");
}

}  // namespace fedtune
