// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "aggregation/quantizer.h"

namespace fedtune::testing {

// S of aggregation/quantizer.h: the integer that stands for the clip.
inline int32_t LargestStep(const QuantizerSettings& settings) {
  const int bits = LargestPrecision(settings.ring, settings.max_cohort, settings.noise_bound);
  return (int32_t{1} << (bits - 1)) - 1;
}

// The step of a mean over `total_weight`.
inline double MeanStep(const QuantizerSettings& settings, int64_t total_weight) {
  return settings.clip / LargestStep(settings) * static_cast<double>(settings.max_weight) /
         static_cast<double>(total_weight);
}

}  // namespace fedtune::testing
