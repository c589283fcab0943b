// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/experts.h"

#include <algorithm>
#include <functional>
#include <span>
#include <utility>

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/silu.h"
#include "ATen/ops/silu_backward.h"
#include "model/transformer/cpu_experts.h"
#include "model/transformer/cpu_moe.h"
#include "model/transformer/differentiable.h"
#include "model/transformer/grouped_experts.h"

namespace fedtune {
namespace {

using Tensors = std::vector<at::Tensor>;

// Every row once for each of its experts, sorted by expert.
at::Tensor Dispatch(const at::Tensor& x, const ExpertPlan& plan, int64_t choices) {
  at::Tensor slots;
  {
    at::NoGradGuard no_grad;
    slots = x.index_select(0, plan.row_of_slot);
  }
  return Differentiable(slots, {x},
                        [index = plan.slot_of_choice, choices](const Tensors& gradients) {
                          const at::Tensor by_choice = gradients[0].index_select(0, index);
                          return Tensors{by_choice.unflatten(0, {-1, choices}).sum(1)};
                        });
}

// Gradients of Combine()'s slots and weights.
Tensors CombineBackward(const at::Tensor& y_gradient, const at::Tensor& slots,
                        const at::Tensor& weights, const ExpertPlan& plan) {
  at::Tensor slot_gradient = y_gradient.index_select(0, plan.row_of_slot)
                                 .mul_(WeightOfSlot(weights, plan, slots.scalar_type()));
  at::Tensor products = ByChoice(slots, plan, weights.size(1)).mul_(y_gradient.unsqueeze(1));
  return {slot_gradient, products.sum(2).to(weights.scalar_type())};
}

// Undoes Dispatch(): the weighted sum over each row's choices.
at::Tensor Combine(const at::Tensor& slots, const at::Tensor& weights, const ExpertPlan& plan) {
  at::Tensor y;
  {
    at::NoGradGuard no_grad;
    const at::Tensor column = weights.to(slots.scalar_type()).unsqueeze(2);
    y = ByChoice(slots, plan, weights.size(1)).mul_(column).sum(1);
  }
  return Differentiable(y, {slots, weights}, [slots, weights, plan](const Tensors& gradients) {
    return CombineBackward(gradients[0], slots, weights, plan);
  });
}

at::Tensor Joined(Tensors parts) { return parts.size() == 1 ? parts[0] : at::cat(parts); }

// The experts one after the other, each on its own slots. One function
// with its own derivative: the many small products are what matters here, and a
// graph of them would cost as much again.
class ExpertLoop {
 public:
  ExpertLoop(std::span<const MlpWeights> experts, const Adapter& adapter,
             std::vector<int64_t> counts)
      : experts_(experts), adapter_(&adapter), counts_(std::move(counts)) {}

  // Factors of all experts' layers, gate, up, down and A before B; undefined
  // where there are none.
  Tensors Factors() const {
    Tensors factors;
    for (const MlpWeights& expert : experts_) {
      for (const Linear* linear : {&expert.gate_proj, &expert.up_proj, &expert.down_proj}) {
        const LoraFactors& lora = adapter_->Of(*linear);
        factors.insert(factors.end(), {lora.a, lora.b});
      }
    }
    return factors;
  }

  at::Tensor Forward(const at::Tensor& x) {
    gate_ = Each(&MlpWeights::gate_proj, x);
    up_ = Each(&MlpWeights::up_proj, x);
    return Each(&MlpWeights::down_proj, at::silu(gate_).mul_(up_));
  }

  // Gradients of x and Factors().
  Tensors Backward(const at::Tensor& y_gradient, const at::Tensor& x,
                   InputGradient input_gradient) const {
    const at::Tensor activation = at::silu(gate_);
    Tensors gradients(1 + 6 * experts_.size());
    at::Tensor h_gradient = EachBackward(&MlpWeights::down_proj, y_gradient, activation * up_,
                                         InputGradient::kCompute, &gradients[5]);
    const at::Tensor up_gradient = h_gradient * activation;
    const at::Tensor gate_gradient = at::silu_backward(h_gradient.mul_(up_), gate_);
    gradients[0] =
        EachBackward(&MlpWeights::gate_proj, gate_gradient, x, input_gradient, &gradients[1]);
    const at::Tensor through_up =
        EachBackward(&MlpWeights::up_proj, up_gradient, x, input_gradient, &gradients[3]);
    if (through_up.defined()) gradients[0].add_(through_up);
    return gradients;
  }

 private:
  using Part = Linear MlpWeights::*;

  at::Tensor Each(Part part, const at::Tensor& x) const {
    Tensors outputs;
    int64_t begin = 0;
    for (size_t i = 0; i < counts_.size(); begin += counts_[i], ++i) {
      if (counts_[i] == 0) continue;
      const Linear& linear = experts_[i].*part;
      outputs.push_back(
          LinearForward(x.narrow(0, begin, counts_[i]), linear, adapter_->Of(linear)));
    }
    return Joined(std::move(outputs));
  }

  // Returns the gradient of x and writes those of the factors to
  // `factor_gradients`[6 * expert] and the one behind it.
  at::Tensor EachBackward(Part part, const at::Tensor& y_gradient, const at::Tensor& x,
                          InputGradient input_gradient, at::Tensor* factor_gradients) const {
    Tensors x_gradients;
    int64_t begin = 0;
    for (size_t i = 0; i < counts_.size(); begin += counts_[i], ++i) {
      if (counts_[i] == 0) continue;
      const Linear& linear = experts_[i].*part;
      LinearGradients gradients =
          LinearBackward(y_gradient.narrow(0, begin, counts_[i]), x.narrow(0, begin, counts_[i]),
                         linear, adapter_->Of(linear), input_gradient);
      factor_gradients[6 * i] = std::move(gradients.a);
      factor_gradients[6 * i + 1] = std::move(gradients.b);
      if (gradients.x.defined()) x_gradients.push_back(std::move(gradients.x));
    }
    return x_gradients.empty() ? at::Tensor() : Joined(std::move(x_gradients));
  }

  std::span<const MlpWeights> experts_;
  const Adapter* adapter_;
  std::vector<int64_t> counts_;
  at::Tensor gate_, up_;
};

bool HaveKernelsFor(const at::Tensor& x, const MoeWeights& moe, const Adapter& adapter) {
  return CpuExperts::CanCompute(x, moe.experts, adapter) &&
         (!moe.shared || CpuExperts::CanCompute(x, std::span(&*moe.shared, 1), adapter));
}

bool AdaptsAny(const std::vector<MlpWeights>& experts, const Adapter& adapter) {
  return std::any_of(experts.begin(), experts.end(), [&](const MlpWeights& expert) {
    return adapter.Of(expert.gate_proj).defined() || adapter.Of(expert.up_proj).defined() ||
           adapter.Of(expert.down_proj).defined();
  });
}

// The sum over each row's experts, times `weights`, [rows, choices].
at::Tensor MixExperts(const at::Tensor& x, const MoeWeights& moe, const Adapter& adapter,
                      const ExpertPlan& plan, const at::Tensor& weights) {
  if (moe.gate_up.defined() && !AdaptsAny(moe.experts, adapter)) {
    return MixGroupedExperts(x, {moe.gate_up, moe.down}, plan, weights);
  }
  const at::Tensor slots = Dispatch(x, plan, weights.size(1));
  return Combine(ApplyExpertsInTurn(slots, moe.experts, adapter, plan.counts), weights, plan);
}

}  // namespace

at::Tensor ApplyExpertsInTurn(const at::Tensor& x, std::span<const MlpWeights> experts,
                              const Adapter& adapter, const std::vector<int64_t>& counts) {
  ExpertLoop loop(experts, adapter, counts);
  at::Tensor y;
  {
    at::NoGradGuard no_grad;
    y = loop.Forward(x);
  }
  Tensors inputs = loop.Factors();
  inputs.insert(inputs.begin(), x);
  if (!NeedsGradient(inputs)) return y;
  const auto wanted = x.requires_grad() ? InputGradient::kCompute : InputGradient::kSkip;
  return Differentiable(y, inputs, [loop = std::move(loop), x, wanted](const Tensors& gradients) {
    return loop.Backward(gradients[0], x, wanted);
  });
}

at::Tensor ApplyMoe(const at::Tensor& x, const MoeWeights& weights, const MoeConfig& moe,
                    const Adapter& adapter, std::span<int64_t> routed) {
  const Routing routing =
      Route(x, weights.gate, adapter.Of(weights.gate), weights.choice_bias, moe);
  const bool by_kernels = HaveKernelsFor(x, weights, adapter);
  const bool by_onednn = x.is_cpu() && !by_kernels;
  const ExpertPlan plan = PlanExperts(routing.experts, moe.routed_expert_count,
                                      by_onednn ? SlotPadding::kRounded : SlotPadding::kNone);
  std::transform(routed.begin(), routed.end(), plan.rows.begin(), routed.begin(), std::plus<>());
  if (by_kernels) return ApplyMoeOnCpu(x, weights, adapter, plan, routing.weights);
  const at::Tensor y = MixExperts(x, weights, adapter, plan, routing.weights);
  return weights.shared ? y + ApplyMlp(x, *weights.shared, adapter) : y;
}

}  // namespace fedtune
