// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "aggregation/server_optimizer.h"

namespace fedtune {

// Checksums of an adapter and its moments, block by block as a step goes through them.
class StepSums {
 public:
  explicit StepSums(int64_t value_count);

  // Thread-safe for different blocks.
  void Note(int64_t first, const SteppedValues::Block& block);

  bool AreOf(int64_t first, const SteppedValues::Block& block) const;

 private:
  std::vector<std::array<uint64_t, 3>> sums_;
};

}  // namespace fedtune
