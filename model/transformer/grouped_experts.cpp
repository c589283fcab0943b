// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/grouped_experts.h"

#include <numeric>
#include <utility>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/_grouped_mm.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/silu.h"
#include "ATen/ops/silu_backward.h"
#include "model/transformer/differentiable.h"

namespace fedtune {
namespace {

using Tensors = std::vector<at::Tensor>;

// Where each expert's slots end.
at::Tensor EndsOf(const std::vector<int64_t>& counts, at::Device device) {
  std::vector<int32_t> ends(counts.size());
  std::partial_sum(counts.begin(), counts.end(), ends.begin());
  return at::from_blob(ends.data(), {static_cast<int64_t>(ends.size())}, at::kInt)
      .to(device, at::kInt, /*non_blocking=*/false, /*copy=*/true);
}

// Of what gate and up made, side by side.
at::Tensor Activation(const at::Tensor& inner) {
  const Tensors halves = inner.chunk(2, 1);
  return at::silu(halves[0]).mul_(halves[1]);
}

// The gradient of `inner`, given that of its activation, which is overwritten.
at::Tensor ActivationBackward(at::Tensor gradient, const at::Tensor& inner) {
  const Tensors halves = inner.chunk(2, 1);
  const at::Tensor by_up = at::silu(halves[0]).mul_(gradient);
  return at::cat({at::silu_backward(gradient.mul_(halves[1]), halves[0]), by_up}, 1);
}

// What the derivative needs.
struct Mixture {
  GroupedWeights experts;
  ExpertPlan plan;
  at::Tensor ends;
  at::Tensor weights;
  at::Tensor inner;
};

// Gradients of x and the weights. A weight's, the product of its expert's output with
// the gradient of y, is that of the activation with what comes back through down.
Tensors MixBackward(const at::Tensor& y_gradient, const Mixture& mixture) {
  const auto& [experts, plan, ends, weights, inner] = mixture;
  at::Tensor by_activation =
      at::_grouped_mm(y_gradient.index_select(0, plan.row_of_slot), experts.down, ends);
  const at::Tensor by_weight = (by_activation * Activation(inner))
                                   .sum(1, /*keepdim=*/false, weights.scalar_type())
                                   .index_select(0, plan.slot_of_choice)
                                   .view_as(weights);
  by_activation.mul_(WeightOfSlot(weights, plan, inner.scalar_type()));
  const at::Tensor by_slot =
      at::_grouped_mm(ActivationBackward(std::move(by_activation), inner), experts.gate_up, ends);
  return {ByChoice(by_slot, plan, weights.size(1)).sum(1), by_weight};
}

}  // namespace

at::Tensor MixGroupedExperts(const at::Tensor& x, const GroupedWeights& experts,
                             const ExpertPlan& plan, const at::Tensor& weights) {
  Mixture mixture = {experts, plan, EndsOf(plan.counts, x.device()), weights, {}};
  at::Tensor y;
  {
    at::NoGradGuard no_grad;
    mixture.inner = at::_grouped_mm(x.index_select(0, plan.row_of_slot),
                                    experts.gate_up.transpose(1, 2), mixture.ends);
    const at::Tensor slots =
        at::_grouped_mm(Activation(mixture.inner), experts.down.transpose(1, 2), mixture.ends);
    y = ByChoice(slots, plan, weights.size(1))
            .mul_(weights.to(x.scalar_type()).unsqueeze(2))
            .sum(1);
  }
  return Differentiable(y, {x, weights}, [mixture = std::move(mixture)](const Tensors& gradients) {
    return MixBackward(gradients[0], mixture);
  });
}

}  // namespace fedtune
