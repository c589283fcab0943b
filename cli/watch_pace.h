// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>

#include "absl/time/time.h"
#include "base/clock.h"
#include "cli/patience.h"

namespace fedtune {

// How often a watched run is drawn.
struct WatchIntervals {
  absl::Duration soonest;  // From one drawing to the next.
  absl::Duration latest;   // When nothing happens.
};

// How long a coordinator may be away while it is watched, as for a restart.
inline constexpr absl::Duration kWatchPatience = absl::Minutes(10);

// When a watched run is drawn, and how long its coordinator is waited for. Goes by time
// that passes: whoever sets the time of day changes nothing. Not thread-safe.
class WatchPace {
 public:
  // `clock` must outlive it.
  WatchPace(const Clock& clock, WatchIntervals intervals);

  // The coordinator has told how the run is.
  void Heard();
  bool has_heard() const { return heard_.has_value(); }

  // Since Heard(), which must have been.
  absl::Duration since_heard() const;

  // The coordinator is not there. True: it was until now.
  bool Lose();
  bool is_lost() const { return lost_.has_value(); }

  // Lose() was so long ago, and nothing was heard since, that waiting makes no sense.
  bool has_waited_enough() const { return lost_.has_value() && lost_->is_over(); }

  // Whether it is time to draw; counts as having drawn.
  bool IsDue();

  // What was drawn is gone: it is due.
  void DrawAnew() { drawn_.reset(); }

 private:
  const Clock* clock_;
  WatchIntervals intervals_;
  std::optional<absl::Duration> heard_;
  std::optional<absl::Duration> drawn_;
  std::optional<Patience> lost_;
  bool changed_ = false;
};

}  // namespace fedtune
