// SPDX-License-Identifier: Apache-2.0

// The course of a run between its start and its releases: the open round's journal,
// pauses, the end and what comes after it.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fail_point.h"
#include "base/status_macros.h"
#include "coordinator/storage/columns.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::Status NotUnderWay(const RunId& id) {
  return absl::AbortedError(fmt::format("{} is not under way any more", id.value));
}

}  // namespace

absl::Status SqliteRunStore::OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kJournalOpenBefore));
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  ASSIGN_OR_RETURN(SqliteStatement opened,
                   database_.Prepare("UPDATE runs SET state = 'running', attempts_opened = ? "
                                     "WHERE id = ? AND state IN ('inviting', 'running') "
                                     "RETURNING rounds_done, adapter"));
  ASSIGN_OR_RETURN(const bool is_under_way, opened.Bind(attempt).Bind(id.value).Step());
  if (!is_under_way) return NotUnderWay(id);
  RowReader row(opened);
  const int64_t round = row.Int64();
  const Digest adapter = row.Sha256();
  opened.Reset();
  RETURN_IF_ERROR(
      LogOne(RoundOpened{.run = id.value, .round = round, .attempt = attempt, .adapter = adapter}));
  RETURN_IF_ERROR(DropJournal(id));
  RETURN_IF_ERROR(InsertIntoJournal(id, entry));
  RETURN_IF_ERROR(std::move(transaction).Commit());
  ReachFailPoint(FailPoint::kJournalOpenAfter);
  return absl::OkStatus();
}

absl::Status SqliteRunStore::AppendToJournal(const RunId& id,
                                             const std::vector<std::string>& entries) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kJournalAppendBefore));
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  for (const std::string& entry : entries) RETURN_IF_ERROR(InsertIntoJournal(id, entry));
  RETURN_IF_ERROR(std::move(transaction).Commit());
  ReachFailPoint(FailPoint::kJournalAppendAfter);
  return absl::OkStatus();
}

absl::Status SqliteRunStore::InsertIntoJournal(const RunId& id, std::string_view entry) {
  return database_.Run("INSERT INTO round_journal (run_id, entry) VALUES (?, ?)", id.value,
                       std::as_bytes(std::span(entry)));
}

absl::Status SqliteRunStore::DropJournal(const RunId& id) {
  return database_.Run("DELETE FROM round_journal WHERE run_id = ?", id.value);
}

absl::Status SqliteRunStore::End(const RunId& id, const RunEnding& ending) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kRunEndBefore));
  const std::lock_guard files_lock(files_mutex_);
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  std::optional<Digest> optimizer_state;
  if (ending.state == RunState::kFinished) {
    ASSIGN_OR_RETURN(optimizer_state, OptimizerState(id));
  }
  RETURN_IF_ERROR(database_.Run(
      "UPDATE runs SET state = ?1, reason = ?2, ended_at_ms = ?3, bytes_received = ?4, "
      "bytes_sent = ?5, pause = NULL, "
      "optimizer_state = CASE WHEN ?1 = 'finished' THEN NULL ELSE optimizer_state END "
      "WHERE id = ?6 AND state IN ('inviting', 'running')",
      ToString(ending.state), ending.reason, ToColumn(ending.ended_at),
      ending.traffic.bytes_received, ending.traffic.bytes_sent, id.value));
  if (database_.ChangedRows() == 0) return absl::OkStatus();
  RETURN_IF_ERROR(PutClients(id, ending.clients));
  RETURN_IF_ERROR(DropJournal(id));
  if (ending.last_evaluation.has_value()) {
    RETURN_IF_ERROR(InsertEvaluation(id, *ending.last_evaluation));
  }
  RETURN_IF_ERROR(LogOne(RunClosed{
      .run = id.value, .state = std::string(ToString(ending.state)), .reason = ending.reason}));
  std::vector<Digest> unwanted;
  if (optimizer_state.has_value()) unwanted.push_back(*optimizer_state);
  RETURN_IF_ERROR(CommitAndRemove(std::move(transaction), unwanted));
  ReachFailPoint(FailPoint::kRunEndAfter);
  return absl::OkStatus();
}

absl::Status SqliteRunStore::SetPause(const RunId& id, const std::optional<std::string>& reason) {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  RETURN_IF_ERROR(
      database_.Run("UPDATE runs SET pause = ?1 "
                    "WHERE id = ?2 AND pause IS NOT ?1 AND state IN ('inviting', 'running')",
                    reason, id.value));
  if (database_.ChangedRows() == 0) return CheckIsUnderWay(id);
  RETURN_IF_ERROR(LogOne(reason.has_value()
                             ? LogEvent(PauseAsked{.run = id.value, .reason = *reason})
                             : LogEvent(RunResumed{.run = id.value})));
  return std::move(transaction).Commit();
}

absl::Status SqliteRunStore::CheckIsUnderWay(const RunId& id) const {
  ASSIGN_OR_RETURN(SqliteStatement row,
                   database_.Prepare("SELECT 1 FROM runs "
                                     "WHERE id = ? AND state IN ('inviting', 'running')"));
  ASSIGN_OR_RETURN(const bool is_under_way, row.Bind(id.value).Step());
  return is_under_way ? absl::OkStatus() : NotUnderWay(id);
}

absl::Status SqliteRunStore::RequestStop(const RunId& id, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  RETURN_IF_ERROR(
      database_.Run("UPDATE runs SET stop = ? "
                    "WHERE id = ? AND stop IS NULL AND state IN ('inviting', 'running')",
                    reason, id.value));
  if (database_.ChangedRows() == 0) return absl::OkStatus();
  RETURN_IF_ERROR(LogOne(StopAsked{.run = id.value, .reason = reason}));
  return std::move(transaction).Commit();
}

absl::Status SqliteRunStore::Reopen(const RunId& id, std::string_view entry) {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  RETURN_IF_ERROR(database_.Run(
      "UPDATE runs SET state = CASE WHEN rounds_done + attempts_opened > 0 THEN 'running' "
      "ELSE 'inviting' END, reason = '', ended_at_ms = NULL, stop = NULL "
      "WHERE id = ? AND state IN ('failed', 'stopped')",
      id.value));
  if (database_.ChangedRows() != 1) {
    return absl::AbortedError(fmt::format("{} has neither failed nor been stopped", id.value));
  }
  RETURN_IF_ERROR(
      database_.Run("UPDATE run_clients SET state = 'invited', reason = '' "
                    "WHERE run_id = ? AND state = 'declined'",
                    id.value));
  RETURN_IF_ERROR(DropJournal(id));
  RETURN_IF_ERROR(InsertIntoJournal(id, entry));
  RETURN_IF_ERROR(LogReopening(id));
  return std::move(transaction).Commit();
}

}  // namespace fedtune
