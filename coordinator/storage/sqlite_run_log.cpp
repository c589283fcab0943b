// SPDX-License-Identifier: Apache-2.0

// What the audit log says of runs, where more is to be known than the change itself.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "coordinator/storage/columns.h"
#include "coordinator/storage/run_rows.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "privacy/crypto/hex.h"
#include "privacy/crypto/random_bytes.h"

namespace fedtune {
namespace {

constexpr size_t kIdBytes = 16;

}  // namespace

LogEvent SqliteRunStore::StartOf(const RunRecord& run) {
  return RunStarted{.run = run.id.value,
                    .plan = Sha256Of(run.plan_toml),
                    .layout = Sha256Of(run.layout_json),
                    .base_digest = run.base_digest,
                    .adapter = run.initial_adapter,
                    .started_by = run.started_by};
}

absl::Status SqliteRunStore::LogOne(LogEvent event) {
  ASSIGN_OR_RETURN(LogWriter log, LogWriter::Begin(database_, clock_.Now()));
  return log.Append(std::move(event));
}

absl::Status SqliteRunStore::BeginLog(const std::string& id) {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const uint64_t size, SizeOfLog(database_));
  ASSIGN_OR_RETURN(const std::optional<LogHasher> head, StoredHead(database_));
  if (size > 0 && head.has_value()) return LogWriter::Begin(database_, clock_.Now()).status();
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  if (size > 0) {
    ASSIGN_OR_RETURN(LogWriter log, LogWriter::Begin(database_, clock_.Now()));
    RETURN_IF_ERROR(log.StoreHead());
    return std::move(transaction).Commit();
  }
  ASSIGN_OR_RETURN(LogWriter log, LogWriter::Begin(database_, clock_.Now()));
  RETURN_IF_ERROR(log.Append(LogBegun{.id = id.empty() ? ToHex(RandomBytes(kIdBytes)) : id}));
  ASSIGN_OR_RETURN(SqliteStatement rows,
                   database_.Prepare("SELECT id FROM runs WHERE state IN ('inviting', 'running') "
                                     "ORDER BY started_at_ms, id"));
  ASSIGN_OR_RETURN(
      const std::vector<RunId> under_way,
      ReadAll<RunId>(rows, [](const SqliteStatement& row) { return RunId{row.Text(0)}; }));
  for (const RunId& run : under_way) RETURN_IF_ERROR(LogWhereItIs(log, run));
  return std::move(transaction).Commit();
}

absl::Status SqliteRunStore::LogReopening(const RunId& id) {
  ASSIGN_OR_RETURN(LogWriter log, LogWriter::Begin(database_, clock_.Now()));
  ASSIGN_OR_RETURN(SqliteStatement start,
                   database_.Prepare("SELECT 1 FROM log_entries WHERE subject = ?"));
  ASSIGN_OR_RETURN(const bool is_known, start.Bind(SubjectOfStart(id.value)).Step());
  if (!is_known) {
    ASSIGN_OR_RETURN(const RunRecord run, RunOf(id));
    RETURN_IF_ERROR(log.Append(StartOf(run)));
  }
  return log.Append(RunReopened{.run = id.value});
}

absl::StatusOr<RunRecord> SqliteRunStore::RunOf(const RunId& id) const {
  ASSIGN_OR_RETURN(SqliteStatement row, FindRun("id"));
  RETURN_IF_ERROR(row.Bind(id.value).Step().status());
  return ReadRun(row);
}

absl::Status SqliteRunStore::LogWhereItIs(LogWriter& log, const RunId& id) const {
  ASSIGN_OR_RETURN(const RunRecord run, RunOf(id));
  RETURN_IF_ERROR(log.Append(StartOf(run)));
  if (run.attempts_opened == 0) return absl::OkStatus();
  return log.Append(RoundOpened{.run = id.value,
                                .round = run.rounds_done,
                                .attempt = run.attempts_opened,
                                .adapter = run.adapter});
}

}  // namespace fedtune
