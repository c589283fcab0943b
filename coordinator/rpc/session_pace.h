// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <map>
#include <mutex>

#include "absl/time/time.h"
#include "coordinator/rounds/names.h"

namespace fedtune {

// Whether an institution begins its sessions at a pace that may be followed: each is logged
// and, while a round is open, written into its journal. A hundred at once, as after network
// trouble, and one a second in the long run. Thread-safe.
class SessionPace {
 public:
  static constexpr double kAtOnce = 100;

  // `now` is on Clock::Monotonic().
  bool MayBegin(const Institution& institution, absl::Duration now) {
    const std::lock_guard lock(mutex_);
    Turns& turns = turns_.try_emplace(institution, Turns{.since = now}).first->second;
    const double earned = absl::ToDoubleSeconds(now - turns.since);
    turns = {.left = std::min(kAtOnce, turns.left + earned), .since = now};
    if (turns.left < 1) return false;
    --turns.left;
    return true;
  }

 private:
  struct Turns {
    double left = kAtOnce;
    absl::Duration since;
  };

  std::mutex mutex_;
  std::map<Institution, Turns> turns_;  // As many as have certificates.
};

}  // namespace fedtune
