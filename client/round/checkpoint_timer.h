// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/time/time.h"
#include "base/clock.h"

namespace fedtune {

// Says when work is to be kept, so that never more than an interval of it, or one
// piece if that is longer, has to be done again. It counts the time in which work is
// done, not that in which it stands still. Not thread-safe.
class CheckpointTimer {
 public:
  // Never due.
  CheckpointTimer() = default;

  // `clock` must outlive it. An interval of zero: never due.
  CheckpointTimer(const Clock& clock, absl::Duration interval)
      : clock_(&clock), interval_(interval) {}

  // A piece of work begins.
  void Begin() { began_ = Now(); }

  // It is done; returns how long it took.
  absl::Duration End() {
    const absl::Duration piece = Now() - began_;
    unkept_ += piece;
    return piece;
  }

  // Whether to keep what is done before a piece that may take so long begins.
  bool Due(absl::Duration next) const {
    return interval_ > absl::ZeroDuration() && unkept_ > absl::ZeroDuration() &&
           unkept_ + next > interval_;
  }

  // All that is done is kept, or cannot be: to be tried again in an interval.
  void Kept() { unkept_ = absl::ZeroDuration(); }

 private:
  absl::Duration Now() const { return clock_ ? clock_->Monotonic() : absl::ZeroDuration(); }

  const Clock* clock_ = nullptr;
  absl::Duration interval_;
  absl::Duration began_;
  absl::Duration unkept_;
};

}  // namespace fedtune
