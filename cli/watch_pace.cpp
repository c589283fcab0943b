// SPDX-License-Identifier: Apache-2.0

#include "cli/watch_pace.h"

#include "base/check.h"

namespace fedtune {

WatchPace::WatchPace(const Clock& clock, WatchIntervals intervals)
    : clock_(&clock), intervals_(intervals) {}

void WatchPace::Heard() {
  heard_ = clock_->Monotonic();
  lost_.reset();
  changed_ = true;
}

absl::Duration WatchPace::since_heard() const {
  Check(heard_.has_value(), "the run was told of before it is shown");
  return clock_->Monotonic() - *heard_;
}

bool WatchPace::Lose() {
  if (lost_.has_value()) return false;
  lost_.emplace(*clock_, kWatchPatience);
  return true;
}

bool WatchPace::IsDue() {
  const absl::Duration now = clock_->Monotonic();
  if (drawn_.has_value()) {
    const absl::Duration age = now - *drawn_;
    if (age < intervals_.soonest || (!changed_ && age < intervals_.latest)) return false;
  }
  drawn_ = now;
  changed_ = false;
  return true;
}

}  // namespace fedtune
