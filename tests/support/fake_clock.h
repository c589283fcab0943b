// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/time/time.h"
#include "base/clock.h"

namespace fedtune::testing {

// A clock that stands still until it is moved.
class FakeClock final : public Clock {
 public:
  absl::Time Now() const override { return now_; }
  absl::Duration Monotonic() const override { return now_ - kStart; }

  void Advance(absl::Duration by) { now_ += by; }

 private:
  static inline const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);
  absl::Time now_ = kStart;
};

}  // namespace fedtune::testing
