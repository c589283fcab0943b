// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/rounds/run.h"
#include "coordinator/storage/run_store.h"
#include "fmt/format.h"

namespace fedtune {

// A run as administrators see it, whether it is under way or long over.
struct RunOverview {
  RunRecord record;
  RunView view;
  std::optional<absl::Duration> time_left;  // Of the current phase.
  std::optional<ReleaseRecord> last_release;
};

inline bool HasEnded(RunState state) {
  return state == RunState::kFinished || state == RunState::kStopped || state == RunState::kFailed;
}

// What to say to who wants something of a run that has ended.
inline absl::Status AlreadyEnded(const RunId& id, RunState state) {
  return absl::FailedPreconditionError(
      fmt::format("{} has ended: it is {}{}", id.value, ToString(state),
                  state == RunState::kFinished ? "" : "; fedtune run retry goes on with it"));
}

}  // namespace fedtune
