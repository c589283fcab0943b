// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "base/splitmix64.h"

namespace fedtune::simulation {

// All that is left to chance in a schedule: one stream of numbers from one seed, the
// same on every machine.
class Draws {
 public:
  explicit Draws(uint64_t seed) : random_(seed) {}

  uint64_t Next() { return random_.Next(); }

  // From 0 to `count` - 1.
  int64_t Below(int64_t count) {
    return static_cast<int64_t>(Next() % static_cast<uint64_t>(count));
  }

  bool Chance(double probability) {
    return static_cast<double>(Next() >> 11) * 0x1p-53 < probability;
  }

  // To the millisecond, both ends included.
  absl::Duration Between(absl::Duration least, absl::Duration most) {
    return least + absl::Milliseconds(Below(absl::ToInt64Milliseconds(most - least) + 1));
  }

 private:
  SplitMix64 random_;
};

}  // namespace fedtune::simulation
