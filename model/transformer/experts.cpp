// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/experts.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <numeric>
#include <span>
#include <utility>

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/_grouped_mm.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/silu.h"
#include "ATen/ops/silu_backward.h"
#include "ATen/ops/zeros.h"
#include "model/transformer/cpu_experts.h"
#include "model/transformer/cpu_moe.h"
#include "model/transformer/differentiable.h"

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

// The rows of `slots` by row and choice: [rows, choices, width].
at::Tensor ByChoice(const at::Tensor& slots, const ExpertPlan& plan, int64_t choices) {
  return slots.index_select(0, plan.slot_of_choice).unflatten(0, {-1, choices});
}

// Gradients of Combine()'s slots and weights.
Tensors CombineBackward(const at::Tensor& y_gradient, const at::Tensor& slots,
                        const at::Tensor& weights, const ExpertPlan& plan) {
  at::Tensor weight_of_slot = at::zeros({slots.size(0), 1}, slots.options());
  weight_of_slot.index_copy_(0, plan.slot_of_choice,
                             weights.reshape({-1, 1}).to(slots.scalar_type()));
  at::Tensor slot_gradient = y_gradient.index_select(0, plan.row_of_slot).mul_(weight_of_slot);
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

// Rounded up to five binary digits where it is large. oneDNN prepares itself
// for every new number of rows, which costs more than a few rows too many.
int64_t WithPadding(int64_t count) {
  if (count < 128) return count;
  const auto step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(count) / 16));
  return (count + step - 1) / step * step;
}

bool AdaptsAny(const std::vector<MlpWeights>& experts, const Adapter& adapter) {
  return std::any_of(experts.begin(), experts.end(), [&](const MlpWeights& expert) {
    return adapter.Of(expert.gate_proj).defined() || adapter.Of(expert.up_proj).defined() ||
           adapter.Of(expert.down_proj).defined();
  });
}

at::Tensor ApplyExperts(const at::Tensor& slots, const MoeWeights& weights, const Adapter& adapter,
                        const std::vector<int64_t>& counts) {
  if (weights.gate_up.defined() && !AdaptsAny(weights.experts, adapter)) {
    return ApplyGroupedExperts(slots, weights.gate_up, weights.down, counts);
  }
  return ApplyExpertsInTurn(slots, weights.experts, adapter, counts);
}

}  // namespace

at::Tensor ApplyGroupedExperts(const at::Tensor& slots, const at::Tensor& gate_up,
                               const at::Tensor& down, const std::vector<int64_t>& counts) {
  std::vector<int32_t> ends(counts.size());
  std::partial_sum(counts.begin(), counts.end(), ends.begin());
  const at::Tensor offsets =
      at::from_blob(ends.data(), {static_cast<int64_t>(ends.size())}, at::kInt)
          .to(slots.device(), at::kInt, /*non_blocking=*/false, /*copy=*/true);
  const std::vector<at::Tensor> halves =
      at::_grouped_mm(slots, gate_up.transpose(1, 2), offsets).chunk(2, 1);
  return at::_grouped_mm(at::silu(halves[0]) * halves[1], down.transpose(1, 2), offsets);
}

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

ExpertPlan PlanExperts(const at::Tensor& experts, int64_t expert_count, SlotPadding padding) {
  const at::Tensor choices = experts.to(at::kCPU).contiguous();
  const std::span<const int64_t> expert_of_choice(choices.const_data_ptr<int64_t>(),
                                                  static_cast<size_t>(choices.numel()));
  ExpertPlan plan;
  plan.rows.resize(static_cast<size_t>(expert_count));
  for (const int64_t expert : expert_of_choice) ++plan.rows[static_cast<size_t>(expert)];
  plan.counts = plan.rows;
  if (padding == SlotPadding::kRounded) {
    for (int64_t& count : plan.counts) count = WithPadding(count);
  }
  std::vector<int64_t> next(plan.counts.size());
  std::exclusive_scan(plan.counts.begin(), plan.counts.end(), next.begin(), int64_t{0});
  const auto options = at::TensorOptions(at::kLong);
  const int64_t slot_count = std::reduce(plan.counts.begin(), plan.counts.end());
  at::Tensor rows = at::zeros({slot_count}, options);
  at::Tensor slots = at::empty({choices.numel()}, options);
  auto* row_of_slot = rows.mutable_data_ptr<int64_t>();
  auto* slot_of_choice = slots.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < expert_of_choice.size(); ++i) {
    const int64_t slot = next[static_cast<size_t>(expert_of_choice[i])]++;
    slot_of_choice[i] = slot;
    row_of_slot[slot] = static_cast<int64_t>(i) / choices.size(1);
  }
  plan.row_of_slot = rows.to(experts.device());
  plan.slot_of_choice = slots.to(experts.device());
  return plan;
}

at::Tensor ApplyMoe(const at::Tensor& x, const MoeWeights& weights, const MoeConfig& moe,
                    const Adapter& adapter, std::span<int64_t> routed) {
  const Routing routing =
      Route(x, weights.gate, adapter.Of(weights.gate), weights.choice_bias, moe);
  const bool on_cpu = CpuExperts::CanCompute(x, weights.experts, adapter);
  const ExpertPlan plan = PlanExperts(routing.experts, moe.routed_expert_count,
                                      on_cpu ? SlotPadding::kNone : SlotPadding::kRounded);
  std::transform(routed.begin(), routed.end(), plan.rows.begin(), routed.begin(), std::plus<>());
  at::Tensor y;
  if (on_cpu) {
    y = ApplyExpertsOnCpu(x, weights.experts, adapter, plan, routing.weights);
  } else {
    const at::Tensor slots = Dispatch(x, plan, moe.experts_per_token);
    const at::Tensor done = ApplyExperts(slots, weights, adapter, plan.counts);
    y = Combine(done, routing.weights, plan);
  }
  return weights.shared ? y + ApplyMlp(x, *weights.shared, adapter) : y;
}

}  // namespace fedtune
