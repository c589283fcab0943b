// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/run_rows.h"

#include <cstring>
#include <initializer_list>
#include <string>

#include "base/status_macros.h"
#include "coordinator/storage/columns.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

// The one of `states` that is stored as `text`.
template <typename State>
absl::StatusOr<State> StateFromText(std::string_view text, std::initializer_list<State> states) {
  for (const State state : states) {
    if (ToString(state) == text) return state;
  }
  return absl::InternalError(fmt::format("the store holds the unknown state \"{}\"", text));
}

EvaluationSummary ReadEvaluationColumns(RowReader& read) {
  EvaluationSummary evaluation;
  evaluation.round = read.Int64();
  evaluation.loss = read.Double();
  evaluation.accuracy = read.Optional(&RowReader::Double);
  evaluation.example_count = read.Int64();
  return evaluation;
}

absl::StatusOr<RoutedTokens> RoutedTokensFrom(int64_t experts, const std::string& bytes) {
  RoutedTokens routed{.experts = experts};
  const size_t count = bytes.size() / sizeof(int64_t);
  if (experts < 1 || bytes.size() % sizeof(int64_t) != 0 ||
      static_cast<int64_t>(count) % experts != 0) {
    return absl::InternalError(fmt::format(
        "the store holds {} bytes of counts for layers of {} experts", bytes.size(), experts));
  }
  routed.counts.resize(count);
  std::memcpy(routed.counts.data(), bytes.data(), bytes.size());
  return routed;
}

}  // namespace

absl::StatusOr<RunRecord> ReadListedRun(const SqliteStatement& row) {
  RowReader read(row);
  RunRecord run;
  run.id.value = read.Text();
  run.request_id = read.Text();
  run.plan_name = read.Text();
  run.plan_toml = read.Text();
  run.base_model = read.Text();
  run.base_digest = read.Text();
  run.started_by = read.Text();
  run.round_count = read.Int64();
  run.started_at = read.Time();
  run.initial_adapter = read.Sha256();
  run.adapter_bytes = static_cast<uint64_t>(read.Int64());
  using enum RunState;
  ASSIGN_OR_RETURN(run.state, StateFromText<RunState>(read.Text(), {kInviting, kRunning, kFinished,
                                                                    kStopped, kFailed}));
  run.reason = read.Text();
  run.ended_at = read.Optional(&RowReader::Time);
  run.rounds_done = read.Int64();
  run.attempts_opened = read.Int64();
  run.adapter = read.Sha256();
  run.optimizer_state = read.Optional(&RowReader::Sha256);
  run.traffic.bytes_received = static_cast<uint64_t>(read.Int64());
  run.traffic.bytes_sent = static_cast<uint64_t>(read.Int64());
  run.pause = read.Optional(&RowReader::Text);
  run.stop = read.Optional(&RowReader::Text);
  return run;
}

absl::StatusOr<RunRecord> ReadRun(const SqliteStatement& row) {
  ASSIGN_OR_RETURN(RunRecord run, ReadListedRun(row));
  constexpr int kLayout = 22;
  run.layout_json = row.Text(kLayout);
  run.base_model_json = row.Text(kLayout + 1);
  return run;
}

absl::StatusOr<ClientView> ReadRunClient(const SqliteStatement& row) {
  RowReader read(row);
  ClientView client;
  client.institution.value = read.Text();
  using enum ClientStanding;
  ASSIGN_OR_RETURN(client.state, StateFromText<ClientStanding>(
                                     read.Text(), {kInvited, kDeclined, kRefusing, kWaiting,
                                                   kDownloading, kEvaluating, kTraining, kUploading,
                                                   kDone, kFailed, kOffline}));
  client.reason = read.Text();
  client.accepted = read.Int64() != 0;
  client.example_count = read.Int64();
  client.rounds_contributed = read.Int64();
  return client;
}

absl::StatusOr<ReleaseRecord> ReadRelease(const SqliteStatement& row) {
  RowReader read(row);
  ReleaseRecord release;
  release.summary.round = read.Int64();
  release.summary.attempt = read.Int64();
  release.summary.contributions = read.Int64();
  release.summary.example_count = read.Int64();
  release.summary.training_loss = read.Double();
  release.adapter = read.Sha256();
  release.started_at = read.Time();
  release.ended_at = read.Time();
  constexpr int kEvaluationRound = 8;
  if (!row.IsNull(kEvaluationRound)) release.summary.evaluation = ReadEvaluationColumns(read);
  constexpr int kBurnt = 14;
  release.summary.burnt = row.Text(kBurnt);
  constexpr int kRoutingExperts = 12;
  if (row.IsNull(kRoutingExperts)) return release;
  ASSIGN_OR_RETURN(release.summary.routed,
                   RoutedTokensFrom(row.Int64(kRoutingExperts), row.Blob(kRoutingExperts + 1)));
  return release;
}

EvaluationSummary ReadEvaluation(const SqliteStatement& row) {
  RowReader read(row);
  return ReadEvaluationColumns(read);
}

}  // namespace fedtune
