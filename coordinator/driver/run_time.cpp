// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/run_time.h"

#include <utility>

#include "base/status.h"

namespace fedtune {

RunTime::RunTime(const Clock& clock, TimerQueue& timers, std::shared_ptr<RunWatchers> watchers)
    : clock_(clock), timers_(timers), watchers_(std::move(watchers)) {}

absl::Duration RunTime::Now() const {
  const std::lock_guard lock(mutex_);
  return run_clock_.At(clock_.Monotonic());
}

absl::Duration RunTime::WhenItIs(absl::Duration time) const {
  const std::lock_guard lock(mutex_);
  return run_clock_.WhenItIs(time);
}

void RunTime::StandStill(absl::Duration span, const absl::Status& why) {
  const std::lock_guard lock(mutex_);
  run_clock_.StandStill(clock_.Monotonic(), span);
  why_ = Message(why);
  watchers_->Notify();
  if (!std::exchange(tells_its_end_, true)) TellAtItsEnd();
}

void RunTime::TellAtItsEnd() {
  timers_.After(run_clock_.Rest(clock_.Monotonic()), [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->TellIfItHasEnded();
  });
}

void RunTime::TellIfItHasEnded() {
  const std::lock_guard lock(mutex_);
  if (run_clock_.StandsStill(clock_.Monotonic())) return TellAtItsEnd();
  tells_its_end_ = false;
  watchers_->Notify();
}

std::string RunTime::WhyItStandsStill() const {
  const std::lock_guard lock(mutex_);
  return run_clock_.StandsStill(clock_.Monotonic()) ? why_ : "";
}

}  // namespace fedtune
