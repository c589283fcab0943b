// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune {

// Arithmetic modulo the prime 2^61 - 1, without branches on the values.
inline constexpr uint64_t kField61 = (uint64_t{1} << 61) - 1;

// `value` below 2^62 modulo the prime.
constexpr uint64_t Reduce61(uint64_t value) {
  value = (value & kField61) + (value >> 61);
  const uint64_t less = value - kField61;
  // All ones where value < prime.
  const uint64_t keep = 0 - (less >> 63);
  return (value & keep) | (less & ~keep);
}

// Of values below the prime.
constexpr uint64_t Add61(uint64_t a, uint64_t b) { return Reduce61(a + b); }
constexpr uint64_t Subtract61(uint64_t a, uint64_t b) { return Reduce61(a + kField61 - b); }
constexpr uint64_t Multiply61(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return Reduce61(static_cast<uint64_t>(product & kField61) + static_cast<uint64_t>(product >> 61));
}

constexpr uint64_t Power61(uint64_t base, uint64_t exponent) {
  uint64_t result = 1;
  for (; exponent != 0; exponent >>= 1) {
    if ((exponent & 1) != 0) result = Multiply61(result, base);
    base = Multiply61(base, base);
  }
  return result;
}

// 1/a by Fermat; the exponent is public.
constexpr uint64_t Inverse61(uint64_t a) { return Power61(a, kField61 - 2); }

}  // namespace fedtune
