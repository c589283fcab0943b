// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/sqlite/sqlite.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// The columns that ReadRun() reads.
std::string RunColumns();
// The same, with nothing in place of the large texts.
std::string ListedRunColumns();
// Those that the other functions below read, in this order.
inline constexpr std::string_view kReleaseColumns =
    "r.round, r.attempt, r.contributions, r.example_count, r.training_loss, r.adapter, "
    "r.started_at_ms, r.ended_at_ms, e.round, e.loss, e.accuracy, e.example_count, "
    "t.experts, t.tokens, r.burnt";
inline constexpr std::string_view kRunClientColumns =
    "c.institution, c.state, c.reason, c.accepted, c.example_count, COALESCE(n.rounds, 0)";
inline constexpr std::string_view kEvaluationColumns = "round, loss, accuracy, example_count";

// INTERNAL: a state that this program does not know.
absl::StatusOr<RunRecord> ReadRun(const SqliteStatement& row);
absl::StatusOr<ClientView> ReadRunClient(const SqliteStatement& row);

// INTERNAL: counts of tokens that are none.
absl::StatusOr<ReleaseRecord> ReadRelease(const SqliteStatement& row);
EvaluationSummary ReadEvaluation(const SqliteStatement& row);

}  // namespace fedtune
