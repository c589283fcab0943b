// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"

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

// What the optimiser remembers between rounds.
struct ServerOptimizerState {
  int64_t steps_a = 0;  // Rounds that trained A.
  int64_t steps_b = 0;
  // m and v, a value for each of the adapter; empty before they are needed.
  std::vector<float> first_moment = {};
  std::vector<float> second_moment = {};

  friend bool operator==(const ServerOptimizerState&, const ServerOptimizerState&) = default;
};

// For storage beside the adapter it belongs to.
std::string ToBytes(const ServerOptimizerState& state);

// INVALID_ARGUMENT: not what ToBytes() writes, or moments of another size than
// `parameter_count`.
absl::StatusOr<ServerOptimizerState> ServerOptimizerStateFromBytes(std::string_view bytes,
                                                                   int64_t parameter_count);

// Reads the mean's values from `first` on, of the tensors of `factors` in layout
// order. Called from several threads.
using MeanReader = std::function<absl::Status(int64_t first, std::span<float> mean)>;

// Makes one step in place, some thousand values at a time. Values and moments of
// other factors stay. The arithmetic is in fp64, rounded
// to fp32 at the end; results below fp32's normal range become 0, so that
// neither speed nor bytes depend on how a processor treats denormals.
//
// Requires: `adapter` fits `layout`. Errors: of `mean`; adapter and state are
// then good for nothing.
absl::Status ApplyServerStep(const AdapterLayout& layout, FactorSet factors, const ServerStep& step,
                             const MeanReader& mean, std::span<float> adapter,
                             ServerOptimizerState& state);

}  // namespace fedtune
