// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>

#include "absl/time/time.h"

namespace fedtune {

// The time of a run, by which its deadlines go: that of the clock that never jumps
// (`now`, which each call is told), without the spans in which the run stood still. Not
// thread-safe.
class RunClock {
 public:
  absl::Duration At(absl::Duration now) const {
    return now - stood_still_ - (std::min(now, until_) - since_);
  }

  // No time passes from `now` on for so long, or longer if it stands still already.
  void StandStill(absl::Duration now, absl::Duration span) {
    if (!StandsStill(now)) {
      stood_still_ += until_ - since_;
      since_ = until_ = now;
    }
    until_ = std::max(until_, now + span);
  }

  bool StandsStill(absl::Duration now) const { return now < until_; }

  // For how long; 0 if it goes.
  absl::Duration Rest(absl::Duration now) const {
    return std::max(until_ - now, absl::ZeroDuration());
  }

  // When it will be `time`, on the clock that never jumps, if it does not stand still
  // again before.
  absl::Duration WhenItIs(absl::Duration time) const {
    return time + stood_still_ + (until_ - since_);
  }

 private:
  absl::Duration stood_still_;  // Before the last span.
  absl::Duration since_;        // That span, which may last still; none: both are 0.
  absl::Duration until_;
};

}  // namespace fedtune
