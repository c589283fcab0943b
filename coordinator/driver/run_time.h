// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "coordinator/driver/run_clock.h"
#include "coordinator/driver/run_watchers.h"
#include "coordinator/driver/timer_queue.h"

namespace fedtune {

// The time of one run: that of the coordinator's clock, but for the spans in which the run
// stands still. Its watchers hear when such a span begins and ends. Thread-safe.
class RunTime : public std::enable_shared_from_this<RunTime> {
 public:
  // `clock` and `timers` must outlive it.
  RunTime(const Clock& clock, TimerQueue& timers, std::shared_ptr<RunWatchers> watchers);

  absl::Duration Now() const;

  // When it will be `time`, on Clock::Monotonic(), if the run does not stand still again
  // before.
  absl::Duration WhenItIs(absl::Duration time) const;

  // No time passes from now on for so long, or longer if the run stands still already:
  // what nobody can do anything about costs nobody a round.
  void StandStill(absl::Duration span, const absl::Status& why);

  // Empty: it does not.
  std::string WhyItStandsStill() const;

 private:
  void TellAtItsEnd();
  void TellIfItHasEnded();

  const Clock& clock_;
  TimerQueue& timers_;
  const std::shared_ptr<RunWatchers> watchers_;

  mutable std::mutex mutex_;
  RunClock run_clock_;
  std::string why_;             // Of the last span.
  bool tells_its_end_ = false;  // A timer will.
};

}  // namespace fedtune
