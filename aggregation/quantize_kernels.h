// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace fedtune {

// How one client's values become integers.
struct RoundingRule {
  float clip = 0;       // Magnitudes above it become it.
  float factor = 0;     // Steps per unit.
  int32_t largest = 0;  // Magnitudes of integers end here.
  uint32_t ring_mask = 0;
};

// Values that go through a kernel together share 16 words of randomness: value i
// of a group takes the low half of word i, value 16 + i the high half.
inline constexpr size_t kQuantizeGroup = 32;
inline constexpr size_t kWordsPerGroup = kQuantizeGroup / 2;

// integers[i] = floor(v) or, with a probability of v - floor(v) rounded to
// 2^-16, one more, where v = clipped values[i] * factor; as two's complement in
// the ring. Every step is one rounding of fp32 at most, so all kernels give the
// same bytes. Requires: whole groups, finite values, and as much randomness.
using QuantizeKernel = void (*)(const RoundingRule& rule, std::span<const float> values,
                                const uint32_t* random, uint32_t* integers);

struct NamedQuantizeKernel {
  std::string_view name;
  QuantizeKernel kernel;
};

// Those that this processor can run, the fastest one last.
std::vector<NamedQuantizeKernel> QuantizeKernels();

}  // namespace fedtune
