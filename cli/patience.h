// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/time/time.h"
#include "base/clock.h"

namespace fedtune {

// How long something is tried again that gets nowhere. Whoever sets the time of day
// makes it neither longer nor shorter. Not thread-safe.
class Patience {
 public:
  // Begins now. `clock` must outlive it.
  Patience(const Clock& clock, absl::Duration lasts)
      : clock_(&clock), end_(clock.Monotonic() + lasts) {}

  bool is_over() const { return clock_->Monotonic() >= end_; }

 private:
  const Clock* clock_;
  absl::Duration end_;
};

}  // namespace fedtune
