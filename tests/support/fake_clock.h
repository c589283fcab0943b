// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/time/time.h"
#include "base/clock.h"

namespace fedtune::testing {

// A clock that stands still until it is moved.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return now_ + set_by_; }
  absl::Duration Monotonic() const override { return now_ - kStart; }

  void Advance(absl::Duration by) { now_ += by; }

  // Somebody sets the time of day: no time has passed.
  void SetTimeOfDay(absl::Duration by) { set_by_ += by; }

 private:
  static inline const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);
  absl::Time now_ = kStart;
  absl::Duration set_by_;
};

}  // namespace fedtune::testing
