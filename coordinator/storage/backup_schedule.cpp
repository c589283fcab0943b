// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/backup_schedule.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/folders.h"
#include "base/sqlite/sqlite.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/storage/backup.h"
#include "coordinator/storage/kept_backups.h"
#include "coordinator/storage/state_check.h"
#include "coordinator/storage/state_database.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int kLowPriority = 10;

// Whether a folder is a whole backup of what this one has left behind.
bool IsBackupOf(const std::optional<LastWriter>& writer, const std::filesystem::path& backup) {
  if (!writer.has_value()) return false;
  {
    const auto opened = SqliteDatabase::OpenToRead(backup / kDatabaseName);
    if (!opened.ok()) return false;
    const absl::StatusOr<std::optional<LastWriter>> found = LastWriterOf(*opened);
    if (!found.ok() || *found != writer) return false;
  }
  const absl::StatusOr<StateReport> report = CheckState(backup);
  return report.ok() && report->problems.empty();
}

}  // namespace

BackupSchedule::BackupSchedule(Options options, const Clock& clock, Log& log)
    : options_(std::move(options)), clock_(clock), log_(log), thread_([this] { Work(); }) {}

BackupSchedule::~BackupSchedule() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

bool BackupSchedule::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

bool BackupSchedule::WaitFor(absl::Duration time) {
  std::unique_lock lock(mutex_);
  return !stopped_.wait_for(lock, absl::ToChronoMilliseconds(time), [this] { return stopping_; });
}

void BackupSchedule::Work() {
  ::setpriority(PRIO_PROCESS, 0, kLowPriority);  // Of this thread.
  // A restart does not change when the next one is due. Those of the future, of a clock that
  // has been put back, do not count: one is due at once then.
  const absl::Duration due =
      LastBackup(options_.backups, clock_.Now()) + options_.every - clock_.Now();
  absl::Duration wait = std::clamp(due, absl::ZeroDuration(), options_.every);
  for (; WaitFor(wait); wait = options_.every) MakeBackup();
}

void BackupSchedule::MakeBackup() {
  const absl::Duration begun = clock_.Monotonic();
  const absl::Time now = clock_.Now();  // Once: a clock that is put back makes none of the future.
  const auto go_on = [this](std::string_view, double) { return !stopping(); };
  const auto made = BackUp(options_.state, options_.backups, now, "", go_on);
  if (!made.ok()) {
    if (absl::IsCancelled(made.status())) return;
    return log_.Error("no backup was made", {Field("why", Message(made.status()))});
  }
  log_.Info(
      "backup made",
      {Field("path", made->string()),
       Field("seconds", fmt::format("{:.1f}", absl::ToDoubleSeconds(clock_.Monotonic() - begun)))});
  const absl::Status removed = RemoveOldBackups(options_.backups, options_.keep, now);
  if (!removed.ok()) log_.Error("old backups remain", {Field("why", Message(removed))});
}

absl::StatusOr<std::optional<std::filesystem::path>> BackUpBeforeUpgrade(
    const std::filesystem::path& state, const std::filesystem::path& backups, absl::Time now) {
  std::error_code ignored;
  const std::filesystem::path database = state / kDatabaseName;
  if (!std::filesystem::exists(database, ignored)) return std::nullopt;
  int64_t version = 0;
  std::optional<LastWriter> writer;
  {
    ASSIGN_OR_RETURN(const SqliteDatabase opened, SqliteDatabase::OpenToRead(database));
    ASSIGN_OR_RETURN(version, opened.SchemaVersion());
    if (version == 0 || version >= NewestSchema()) return std::nullopt;
    ASSIGN_OR_RETURN(writer, LastWriterOf(opened));
  }
  const std::string suffix = fmt::format("-before-schema-{}", NewestSchema());
  for (const std::filesystem::path& entry : EntriesOf(backups)) {
    if (entry.string().ends_with(suffix) && IsBackupOf(writer, entry)) return std::nullopt;
  }
  ASSIGN_OR_RETURN(std::filesystem::path made, BackUp(state, backups, now, suffix));
  return made;
}

}  // namespace fedtune
