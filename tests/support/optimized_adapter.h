// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/next_adapter.h"
#include "base/status_macros.h"

namespace fedtune::testing {

// An adapter in memory, with what its optimiser remembers.
struct OptimizedAdapter final : public SteppedValues {
  std::vector<float> values = {};
  OptimizerStateHead head = {};
  std::vector<float> first_moment = {};
  std::vector<float> second_moment = {};

  OptimizedAdapter() = default;
  explicit OptimizedAdapter(std::vector<float> its_values) : values(std::move(its_values)) {}

  // One more round.
  void Prepare(const ServerStep& step, FactorSet factors) {
    head = Next(head, step.rule, factors, std::ssize(values));
    first_moment.resize(static_cast<size_t>(head.first_count));
    second_moment.resize(static_cast<size_t>(head.second_count));
  }

  absl::Status Load(int64_t first, const Block& block) const override {
    const auto copy = [first](const std::vector<float>& from, std::span<float> to) {
      if (!to.empty()) std::copy_n(from.begin() + first, to.size(), to.begin());
    };
    copy(values, block.values);
    copy(first_moment, block.first_moment);
    copy(second_moment, block.second_moment);
    return absl::OkStatus();
  }

  absl::Status Store(int64_t first, const Block& block) override {
    const auto copy = [first](std::span<const float> from, std::vector<float>& to) {
      if (!from.empty()) std::copy(from.begin(), from.end(), to.begin() + first);
    };
    copy(block.values, values);
    copy(block.first_moment, first_moment);
    copy(block.second_moment, second_moment);
    return absl::OkStatus();
  }
};

// The adapter after a round.
inline absl::StatusOr<OptimizedAdapter> NextAdapter(const AdapterLayout& layout,
                                                    OptimizedAdapter adapter,
                                                    const MeanSource& mean,
                                                    const ServerStep& step) {
  adapter.Prepare(step, mean.factors());
  RETURN_IF_ERROR(MakeNextAdapter(layout, mean, step, adapter.head, adapter));
  return adapter;
}

}  // namespace fedtune::testing
