// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"

namespace fedtune {

// The rows of a batch sorted by expert: row r's j-th choice is slot
// slot_of_choice[r * experts_per_token + j]. Slots that are nobody's choice are
// padding: they hold row 0, and their results are ignored.
struct ExpertPlan {
  std::vector<int64_t> rows;    // Of each expert.
  std::vector<int64_t> counts;  // Its slots, with padding.
  at::Tensor row_of_slot;
  at::Tensor slot_of_choice;
};

// Whether each expert gets more slots than it has rows, so that there are few
// different numbers of them.
enum class SlotPadding : bool { kNone, kRounded };

// Equal choices stay in the order of their rows.
ExpertPlan PlanExperts(const at::Tensor& experts, int64_t expert_count, SlotPadding padding);

// The rows of `slots` by row and choice: [rows, choices, width].
at::Tensor ByChoice(const at::Tensor& slots, const ExpertPlan& plan, int64_t choices);

// The weights, [rows, choices], by slot: [slots, 1], in `type`; 0 for padding.
at::Tensor WeightOfSlot(const at::Tensor& weights, const ExpertPlan& plan, at::ScalarType type);

}  // namespace fedtune
