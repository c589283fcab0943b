// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>

#include "absl/time/time.h"
#include "coordinator/rounds/run.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// A run as administrators see it, whether it is under way or long over.
struct RunOverview {
  RunRecord record;
  RunView view;
  std::optional<absl::Duration> time_left;  // Of the current phase.
  std::optional<ReleaseRecord> last_release;
};

inline bool HasEnded(RunState state) {
  return state != RunState::kInviting && state != RunState::kRunning;
}

}  // namespace fedtune
