// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "aggregation/adapter_layout.h"
#include "plan/plan.h"

namespace fedtune {

// A training between two of its steps: all that its later steps depend on besides
// the request. There is no random number in it: batches, learning rates and what is
// dropped out are pure functions of the step. A training that goes on from
// it ends with the bits of one that was never interrupted, as far as a Trainer
// gives equal bits at all.
//
// What a later version adds here belongs into WriteTrainingState() and its reader
// (client/round/round_record.cpp), under a new version.
struct TrainingState {
  int64_t step = 0;                 // Steps done.
  std::vector<float> adapter = {};  // All of it, in the layout's order.

  // Of AdamW; empty without it. A value for each that is trained: those of all As,
  // then those of all Bs, each in the layout's order.
  std::vector<float> first_moment = {};
  std::vector<float> second_moment = {};

  // Sums over the steps that are done.
  double loss_sum = 0;
  int64_t token_count = 0;
  int64_t answer_token_count = 0;
  double seconds = 0;
  std::vector<int64_t> routed_tokens = {};  // Of each routed expert, layer by layer.

  friend bool operator==(const TrainingState&, const TrainingState&) = default;
};

// What a state must be of to be gone on from.
struct TrainingShape {
  const AdapterLayout& layout;
  FactorSet factors = FactorSet::kBoth;
  LocalOptimizer optimizer = LocalOptimizer::kAdamW;
  int64_t steps = 0;
};

// INVALID_ARGUMENT: it has more steps than the training, values of another number, a
// value that is not finite, or a sum that cannot be; the message says which.
absl::Status CheckState(const TrainingState& state, const TrainingShape& shape);

// Called after each step, with the steps done; `state` makes the state then, at the
// cost of copying it.
using StateTaker = std::function<void(int64_t step, const std::function<TrainingState()>& state)>;

}  // namespace fedtune
