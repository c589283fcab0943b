// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "aggregation/adapter_layout.h"

namespace fedtune {

// The weighted mean of a round's deltas, however they were gathered. Several
// threads may read it.
class MeanSource {
 public:
  virtual ~MeanSource() = default;

  // Whose tensors its values are, in layout order.
  virtual FactorSet factors() const = 0;

  // The mean's values from `first` on. Requires a contribution, and that there
  // are as many values. Errors: of where they come from.
  virtual absl::Status Mean(int64_t first, std::span<float> mean) const = 0;
};

}  // namespace fedtune
