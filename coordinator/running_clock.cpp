// SPDX-License-Identifier: Apache-2.0

#include "coordinator/running_clock.h"

#include <condition_variable>

#include "base/units.h"

namespace fedtune {

RunningClock::RunningClock(const Clock& clock, absl::Duration looks_every, Log& log)
    : clock_(clock),
      looks_every_(looks_every),
      log_(log),
      last_(clock.Monotonic()),
      thread_([this](const std::stop_token& stop) { Look(stop); }) {}

absl::Duration RunningClock::Monotonic() const {
  const std::lock_guard lock(mutex_);
  const absl::Duration now = clock_.Monotonic();
  const absl::Duration passed = now - last_;
  if (passed > looks_every_ + kLongestDelay) stood_still_ += passed;
  last_ = now;
  return now - stood_still_;
}

absl::Duration RunningClock::StoodStill() const {
  Monotonic();
  const std::lock_guard lock(mutex_);
  return stood_still_;
}

void RunningClock::Look(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any stopped;
  absl::Duration told;
  while (true) {
    std::unique_lock lock(mutex);
    stopped.wait_for(lock, stop, absl::ToChronoMilliseconds(looks_every_), [] { return false; });
    if (stop.stop_requested()) return;
    const absl::Duration news = StoodStill() - told;
    if (news == absl::ZeroDuration()) continue;
    log_.Warning("the coordinator stood still; no deadline has come nearer meanwhile",
                 {Field("for", HumanDuration(news))});
    told += news;
  }
}

}  // namespace fedtune
