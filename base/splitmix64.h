// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune {

// SplitMix64 (Steele et al., 2014): not for secrets, and the same on every machine.

inline constexpr uint64_t kSplitMixGamma = 0x9e3779b97f4a7c15;
inline constexpr uint64_t kSplitMixFirstFactor = 0xbf58476d1ce4e5b9;
inline constexpr uint64_t kSplitMixSecondFactor = 0x94d049bb133111eb;

// Its finaliser.
constexpr uint64_t SplitMix(uint64_t x) {
  x = (x ^ (x >> 30)) * kSplitMixFirstFactor;
  x = (x ^ (x >> 27)) * kSplitMixSecondFactor;
  return x ^ (x >> 31);
}

// Its stream of numbers.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t seed) : state_(seed) {}

  uint64_t Next() { return SplitMix(state_ += kSplitMixGamma); }

 private:
  uint64_t state_;
};

}  // namespace fedtune
