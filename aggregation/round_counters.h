// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/evaluation_result.h"
#include "aggregation/masked_layout.h"

namespace fedtune {

// What one client tells of its round inside the masked vector.
struct CountedRound {
  int64_t weight = 0;
  int64_t example_count = 0;
  double training_loss = 0;
  int64_t steps = 0;
  int64_t token_count = 0;
  std::optional<EvaluationResult> before = std::nullopt;
  std::optional<EvaluationResult> after = std::nullopt;
  std::vector<int64_t> routed_tokens = {};  // MoE layer by layer, expert by expert.
};

// What the coordinator learns: sums over all contributions. Of losses and
// accuracies means, the training loss's by weight, an evaluation's by examples.
struct CountedRounds {
  int64_t contributions = 0;
  int64_t total_weight = 0;
  int64_t example_count = 0;
  double training_loss = 0;
  int64_t steps = 0;
  int64_t token_count = 0;
  // Over those that evaluated; absent when nobody did. The accuracy is over those
  // that reported one.
  std::optional<EvaluationResult> before = std::nullopt;
  std::optional<EvaluationResult> after = std::nullopt;
  std::vector<int64_t> routed_tokens = {};
};

// Losses are counted in steps of 2^-16 nats, rounded to nearest, and those above
// 64 as 64: a mean is off by 2^-17. Accuracies are counted in right answers, and
// so are exact.
inline constexpr double kLossStepsPerNat = 65'536;
inline constexpr double kMostLoss = 64;

// No client has more.
inline constexpr int64_t kMostCountedExamples = int64_t{1} << 27;
inline constexpr int64_t kMostCountedTokens = int64_t{1} << 48;
// Of a model, far beyond any there is: what is described may come from anyone.
inline constexpr int64_t kMostRoutedExperts = int64_t{1} << 20;

// Which routed tokens a round counts: those of each expert of each layer with
// routed experts.
struct RoutingShape {
  int64_t layers = 0;
  int64_t experts = 0;      // Of a layer.
  int64_t choices = 0;      // Experts of a layer that one token goes to.
  int64_t most_tokens = 0;  // Of one client in one round, and so of each expert.

  int64_t counter_count() const { return layers * experts; }
  friend bool operator==(const RoutingShape&, const RoutingShape&) = default;
};

// The counters of a round, in the order of ToNumbers().
std::vector<Counter> RoundCounters(int64_t max_weight, RoutingShape routing = {});

// What `round` counts to.
// INVALID_ARGUMENT: a loss or an accuracy that is none.
absl::StatusOr<std::vector<int64_t>> ToNumbers(const CountedRound& round);

// Requires: a sum for each of RoundCounters().
// OUT_OF_RANGE: the sums contradict each other, or are not of `contributions`.
absl::StatusOr<CountedRounds> FromSums(std::span<const int64_t> sums, int64_t contributions);

}  // namespace fedtune
