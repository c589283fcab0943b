// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/transformer/adapter.h"
#include "model/transformer/mlp.h"
#include "model/transformer/router.h"

namespace fedtune {

// A mixture of experts: every row goes through the shared experts and through
// the routed ones that its router chooses.
struct MoeWeights {
  Linear gate;
  at::Tensor choice_bias;  // fp32, [experts]; undefined where there is none.
  std::vector<MlpWeights> experts;
  std::optional<MlpWeights> shared;

  // In the form for GPUs the experts' weights are parts of these, for one grouped
  // product each, if their sizes allow it:
  // [experts, 2 * width, hidden] and [experts, hidden, width].
  at::Tensor gate_up;
  at::Tensor down;
};

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

// All experts in one grouped product each for gate with up, and for down.
// `gate_up` and `down` are as in MoeWeights; for weights that are not adapted.
at::Tensor ApplyGroupedExperts(const at::Tensor& slots, const at::Tensor& gate_up,
                               const at::Tensor& down, const std::vector<int64_t>& counts);

// One expert after the other. Differentiable with respect to the slots and the
// factors; experts and adapter must outlive the derivative.
at::Tensor ApplyExpertsInTurn(const at::Tensor& slots, std::span<const MlpWeights> experts,
                              const Adapter& adapter, const std::vector<int64_t>& counts);

// The sum over each row's experts, weighted by its router, plus the shared
// experts. Differentiable; weights and adapter must outlive the derivative. Adds
// each expert's rows to `routed`, which may be empty.
at::Tensor ApplyMoe(const at::Tensor& x, const MoeWeights& weights, const MoeConfig& moe,
                    const Adapter& adapter, std::span<int64_t> routed = {});

}  // namespace fedtune
