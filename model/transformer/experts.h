// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/transformer/adapter.h"
#include "model/transformer/expert_plan.h"
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
