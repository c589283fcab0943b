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
[[gnu::always_inline]] inline int32_t MagnitudeBits(float value) {
  return std::bit_cast<int32_t>(value) & kMagnitudeBits;
}

// A maximum over signed integers: the compiler makes vector code of it.
[[gnu::always_inline]] inline int32_t LargestOf(std::span<const float> values) {
  int32_t largest = 0;
  for (const float value : values) largest = std::max(largest, MagnitudeBits(value));
  return largest;
}

using Largest = int32_t (*)(std::span<const float> values);

int32_t LargestPortable(std::span<const float> values) { return LargestOf(values); }

#if defined(__x86_64__)
[[gnu::target("avx2")]] int32_t LargestAvx2(std::span<const float> values) {
  return LargestOf(values);
}
#endif

Largest FastestLargest() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return LargestAvx2;
#endif
  return LargestPortable;
}

}  // namespace

bool ValueRange::finite() const { return std::isfinite(extreme_); }

void ValueRange::Add(std::span<const float> values) {
  static const Largest kLargest = FastestLargest();
  const int32_t largest = kLargest(values);
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
