// SPDX-License-Identifier: Apache-2.0

#include "aggregation/value_range.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace fedtune {
namespace {

constexpr int32_t kMagnitudeBits = 0x7fffffff;
constexpr int32_t kInfinityBits = 0x7f800000;

// In the order of magnitudes; infinities and then NaNs come last.
int32_t MagnitudeBits(float value) { return std::bit_cast<int32_t>(value) & kMagnitudeBits; }

}  // namespace

bool ValueRange::finite() const { return std::isfinite(extreme_); }

void ValueRange::Add(std::span<const float> values) {
  // A maximum over signed integers: the compiler makes vector code of it.
  int32_t largest = 0;
  for (const float value : values) largest = std::max(largest, MagnitudeBits(value));
  if (finite() && largest > MagnitudeBits(extreme_)) {
    const int32_t wanted = std::min(largest, kInfinityBits);
    const auto found = std::find_if(values.begin(), values.end(), [wanted](float value) {
      return MagnitudeBits(value) >= wanted;
    });
    extreme_ = *found;
    extreme_index_ = count_ + (found - values.begin());
  }
  count_ += std::ssize(values);
}

}  // namespace fedtune
