// SPDX-License-Identifier: Apache-2.0

// What a release changes.

#include <algorithm>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/fail_point.h"
#include "base/status_macros.h"
#include "coordinator/storage/columns.h"
#include "coordinator/storage/log_rows.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

void BindResult(SqliteStatement& insert, const std::optional<EvaluationResult>& result) {
  if (!result.has_value()) {
    insert.BindNull().BindNull().BindNull();
    return;
  }
  insert.Bind(result->loss).Bind(result->accuracy).Bind(result->example_count);
}

}  // namespace

absl::Status SqliteRunStore::SaveRelease(const RunId& id, const NewRelease& release) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kReleaseBefore));
  std::optional<Digest> optimizer_state;
  if (!release.optimizer_state.empty()) {
    optimizer_state =
        release.state_digest.has_value() ? release.state_digest : Sha256Of(release.optimizer_state);
  }
  const std::lock_guard files_lock(files_mutex_);
  RETURN_IF_ERROR(PutFile(release.record.adapter, release.adapter, release.adapter_draft));
  if (optimizer_state.has_value()) {
    RETURN_IF_ERROR(PutFile(*optimizer_state, release.optimizer_state, release.state_draft));
  }
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  ASSIGN_OR_RETURN(const std::optional<Digest> old_state, OptimizerState(id));
  RETURN_IF_ERROR(MoveHead(id, release, optimizer_state));
  RETURN_IF_ERROR(DropJournal(id));
  if (!release.journal.empty()) RETURN_IF_ERROR(InsertIntoJournal(id, release.journal));
  RETURN_IF_ERROR(InsertBlob(release.record.adapter, release.adapter));
  if (optimizer_state.has_value()) {
    RETURN_IF_ERROR(InsertBlob(*optimizer_state, release.optimizer_state));
  }
  RETURN_IF_ERROR(InsertRelease(id, release.record));
  RETURN_IF_ERROR(InsertContributions(id, release));
  RETURN_IF_ERROR(LogRelease(id, release));
  const auto& evaluation = release.record.summary.evaluation;
  if (evaluation.has_value()) RETURN_IF_ERROR(InsertEvaluation(id, *evaluation));
  ASSIGN_OR_RETURN(std::vector<Digest> unwanted, DropOldAdapters(id, release));
  if (old_state.has_value()) unwanted.push_back(*old_state);
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kReleaseCommit));
  RETURN_IF_ERROR(CommitAndRemove(std::move(transaction), unwanted));
  ReachFailPoint(FailPoint::kReleaseAfter);
  return absl::OkStatus();
}

absl::Status SqliteRunStore::MoveHead(const RunId& id, const NewRelease& release,
                                      const std::optional<Digest>& optimizer_state) {
  const int64_t round = release.record.summary.round;
  RETURN_IF_ERROR(database_.Run(
      "UPDATE runs SET state = 'running', rounds_done = ?, attempts_opened = 0, adapter = ?, "
      "optimizer_state = ?, bytes_received = ?, bytes_sent = ? "
      "WHERE id = ? AND rounds_done = ? AND state IN ('inviting', 'running')",
      round + 1, ToColumn(release.record.adapter), ToColumn(optimizer_state),
      release.traffic.bytes_received, release.traffic.bytes_sent, id.value, round));
  if (database_.ChangedRows() == 1) return absl::OkStatus();
  return absl::AbortedError(fmt::format("{} is not at round {} any more", id.value, round + 1));
}

absl::Status SqliteRunStore::InsertRelease(const RunId& id, const ReleaseRecord& record) {
  const RoundSummary& summary = record.summary;
  if (!summary.routed.counts.empty()) {
    RETURN_IF_ERROR(database_.Run("INSERT INTO routing VALUES (?, ?, ?, ?)", id.value,
                                  summary.round, summary.routed.experts,
                                  std::as_bytes(std::span(summary.routed.counts))));
  }
  return database_.Run("INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)", id.value,
                       summary.round, summary.attempt, summary.contributions, summary.example_count,
                       summary.training_loss, ToColumn(record.adapter), ToColumn(record.started_at),
                       ToColumn(record.ended_at), summary.burnt);
}

absl::Status SqliteRunStore::InsertContributions(const RunId& id, const NewRelease& release) {
  ASSIGN_OR_RETURN(
      SqliteStatement insert,
      database_.Prepare(
          "INSERT INTO contributions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  for (const ContributionRecord& c : release.contributions) {
    const ClientMetrics& m = c.metrics;
    insert.Reset();
    insert.Bind(id.value).Bind(release.record.summary.round).Bind(c.institution.value);
    insert.Bind(ToColumn(c.sha256)).Bind(c.weight).Bind(c.example_count);
    insert.Bind(m.training_loss).Bind(m.steps).Bind(m.token_count).Bind(m.training_seconds);
    BindResult(insert, m.before);
    BindResult(insert, m.after);
    RETURN_IF_ERROR(insert.Step().status());
  }
  return absl::OkStatus();
}

// What it counts, then that it is there.
absl::Status SqliteRunStore::LogRelease(const RunId& id, const NewRelease& release) {
  const RoundSummary& summary = release.record.summary;
  ASSIGN_OR_RETURN(LogWriter log, LogWriter::Begin(database_, clock_.Now()));
  for (const ContributionRecord& counted : release.contributions) {
    RETURN_IF_ERROR(log.Append(ContributionCounted{.run = id.value,
                                                   .round = summary.round,
                                                   .institution = counted.institution.value,
                                                   .contribution = counted.sha256}));
  }
  return log.Append(RoundReleased{.run = id.value,
                                  .round = summary.round,
                                  .attempt = summary.attempt,
                                  .contributions = summary.contributions,
                                  .adapter = release.record.adapter,
                                  .burnt = summary.burnt});
}

absl::Status SqliteRunStore::InsertEvaluation(const RunId& id,
                                              const EvaluationSummary& evaluation) {
  return database_.Run("INSERT OR REPLACE INTO evaluations VALUES (?, ?, ?, ?, ?)", id.value,
                       evaluation.round, evaluation.loss, evaluation.accuracy,
                       evaluation.example_count);
}

absl::StatusOr<std::vector<Digest>> SqliteRunStore::DropOldAdapters(const RunId& id,
                                                                    const NewRelease& release) {
  const int64_t unwanted = release.oldest_wanted.value_or(release.record.summary.round) - 1;
  const int64_t last = std::min(release.record.summary.round - keep_adapters_, unwanted);
  ASSIGN_OR_RETURN(SqliteStatement dropped,
                   database_.Prepare("UPDATE releases SET adapter_kept = 0 WHERE run_id = ? AND "
                                     "round <= ? AND adapter_kept RETURNING adapter"));
  dropped.Bind(id.value).Bind(last);
  return ReadAll<Digest>(dropped,
                         [](const SqliteStatement& row) { return RowReader(row).Sha256(); });
}

}  // namespace fedtune
