// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/time/time.h"

namespace fedtune {

// Where code that must be testable gets the time from. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;

  // The time of day, for records and for people.
  virtual absl::Time Now() const = 0;

  // Time since an arbitrary start that never jumps, for deadlines.
  virtual absl::Duration Monotonic() const = 0;
};

// The machine's clocks.
class SystemClock final : public Clock {
 public:
  absl::Time Now() const override;
  absl::Duration Monotonic() const override;
};

}  // namespace fedtune
