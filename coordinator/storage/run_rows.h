// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "base/sqlite/sqlite.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// The columns that the functions below read, in this order. Those of ReadRun() are of
// "runs JOIN run_texts"; ReadListedRun() reads all but the last two.
inline constexpr std::string_view kListedRunColumns =
    "id, request_id, plan_name, plan_toml, base_model, base_digest, started_by, round_count, "
    "started_at_ms, initial_adapter, adapter_bytes, state, reason, ended_at_ms, rounds_done, "
    "attempts_opened, adapter, optimizer_state, bytes_received, bytes_sent, pause, stop";
inline constexpr std::string_view kRunTextColumns = "layout_json, base_model_json";
inline constexpr std::string_view kReleaseColumns =
    "r.round, r.attempt, r.contributions, r.example_count, r.training_loss, r.adapter, "
    "r.started_at_ms, r.ended_at_ms, e.round, e.loss, e.accuracy, e.example_count, "
    "t.experts, t.tokens, r.burnt";
inline constexpr std::string_view kRunClientColumns =
    "c.institution, c.state, c.reason, c.accepted, c.example_count, COALESCE(n.rounds, 0)";
inline constexpr std::string_view kEvaluationColumns = "round, loss, accuracy, example_count";

// INTERNAL: a state that this program does not know.
absl::StatusOr<RunRecord> ReadListedRun(const SqliteStatement& row);
absl::StatusOr<RunRecord> ReadRun(const SqliteStatement& row);
absl::StatusOr<ClientView> ReadRunClient(const SqliteStatement& row);

// INTERNAL: counts of tokens that are none.
absl::StatusOr<ReleaseRecord> ReadRelease(const SqliteStatement& row);
EvaluationSummary ReadEvaluation(const SqliteStatement& row);

}  // namespace fedtune
