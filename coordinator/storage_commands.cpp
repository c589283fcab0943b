// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage_commands.h"

#include <unistd.h>

#include <memory>
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
    json["expiring"].push_back(
        {{"whose", expiry.whose},
         {"not_after",
          absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", expiry.not_after, absl::UTCTimeZone())}});
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
  options.json ? fmt::print("{}", JsonLine(ReportToJson(*report, config, expiring)))
               : Tell(*report, directory);
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
  return absl::OkStatus();
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
       "Restores a backup into an empty state directory (keys and backups may be there). Clients "
       "will see that the audit log was rolled back, and each institution has to accept it.",
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
