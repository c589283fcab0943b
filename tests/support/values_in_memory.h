// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "aggregation/value_source.h"

namespace fedtune::testing {

class ValuesInMemory final : public ValueSource {
 public:
  explicit ValuesInMemory(std::vector<float> values) : values_(std::move(values)) {}

  absl::Status Read(int64_t first, std::span<float> values) const override {
    std::copy_n(values_.begin() + first, values.size(), values.begin());
    return absl::OkStatus();
  }

  const float* InMemory() const override { return values_.data(); }

 private:
  const std::vector<float> values_;
};

}  // namespace fedtune::testing
