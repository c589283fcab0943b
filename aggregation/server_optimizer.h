// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/mean_source.h"

namespace fedtune {

// What the server does with the mean delta D of a round (Reddi et al., 2021),
// value by value:
//
//   average    x += rate D
//   momentum   m = beta1 m + D;                        x += rate m   (FedAvgM)
//   adam       m = beta1 m + (1 - beta1) D;  v = beta2 v + (1 - beta2) D^2
//              x += rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
//
// m and v start at 0. Unlike the paper, adam corrects both moments' bias, as
// Kingma & Ba do; t counts the rounds that have trained this value's factor.
enum class ServerRule : uint8_t { kAverage, kMomentum, kAdam };

// The rule with the settings of one round.
struct ServerStep {
  ServerRule rule = ServerRule::kAverage;
  float learning_rate = 1;  // Of this round: the schedule is applied already.
  float beta1 = 0.9f;
  float beta2 = 0.99f;
  float epsilon = 1e-5f;
};

// The head of what the optimiser remembers between rounds. It is stored beside the
// adapter it belongs to: these numbers, then m, then v.
struct OptimizerStateHead {
  int64_t steps_a = 0;  // Rounds that trained A.
  int64_t steps_b = 0;
  // Values of m and of v: as many as the adapter has, or none before they are needed.
  int64_t first_count = 0;
  int64_t second_count = 0;

  std::string ToBytes() const;

  // Of all that is stored.
  uint64_t stored_bytes() const { return SecondAt(second_count); }

  // Where the value with this index is stored.
  uint64_t FirstAt(int64_t index) const;
  uint64_t SecondAt(int64_t index) const { return FirstAt(first_count + index); }

  friend bool operator==(const OptimizerStateHead&, const OptimizerStateHead&) = default;
};

// INVALID_ARGUMENT: `stored` is not what an optimiser remembers, or moments of another
// size than `parameter_count`.
absl::StatusOr<OptimizerStateHead> ReadOptimizerStateHead(std::string_view stored,
                                                          int64_t parameter_count);

// After one more round that has trained `factors`.
OptimizerStateHead Next(OptimizerStateHead head, ServerRule rule, FactorSet factors,
                        int64_t parameter_count);

// An adapter and its moments: where they are before a step, and where they go.
class SteppedValues {
 public:
  // A block has so many values, but for the last one.
  static constexpr int64_t kBlockValues = 16 << 10;

  // Values that follow each other, in layout order, with their moments, if there are
  // any.
  struct Block {
    std::span<float> values;
    std::span<float> first_moment;
    std::span<float> second_moment;
  };

  virtual ~SteppedValues() = default;

  // Those from `first` on, as they are before the step; moments that are new are 0.
  // Called from several threads, as Store() is.
  virtual absl::Status Load(int64_t first, const Block& block) const = 0;

  // As they are after it. Called once for each.
  virtual absl::Status Store(int64_t first, const Block& block) = 0;
};

// Makes one step, some thousand values at a time. Values and moments of other factors
// than the mean's stay. The arithmetic is in fp64, rounded to fp32 at the end; results below fp32's
// normal range become 0, so that neither speed nor bytes depend on how a processor
// treats denormals.
//
// Requires: `values` fit `layout`, and `head` is that after this step. Errors: of `mean`
// and of `values`; what was stored is then good for nothing.
absl::Status ApplyServerStep(const AdapterLayout& layout, const MeanSource& mean,
                             const ServerStep& step, const OptimizerStateHead& head,
                             SteppedValues& values);

}  // namespace fedtune
