// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <vector>

#include "aggregation/weighted_sum.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/values_in_memory.h"

namespace fedtune::testing {

// Adds values that are all there.
inline absl::Status Add(WeightedSum& sum, const std::vector<float>& delta, int64_t weight) {
  ValueRange range;
  range.Add(delta);
  return sum.Add(std::make_shared<ValuesInMemory>(delta), range, weight);
}

// The whole mean.
inline std::vector<float> MeanOf(const WeightedSum& sum) {
  std::vector<float> mean(static_cast<size_t>(sum.value_count()));
  EXPECT_THAT(sum.Mean(0, mean), IsOk());
  return mean;
}

}  // namespace fedtune::testing
