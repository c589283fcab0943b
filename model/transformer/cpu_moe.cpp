// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/cpu_moe.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "model/transformer/cpu_experts.h"
#include "model/transformer/differentiable.h"
#include "model/transformer/parallel.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {
namespace {

using Tensors = std::vector<at::Tensor>;

InputGradient Wanted(const at::Tensor& x) {
  return x.requires_grad() ? InputGradient::kCompute : InputGradient::kSkip;
}

// For each row the sum of its choices' slots, times `weights` if defined.
at::Tensor SumOfSlots(const at::Tensor& slots, const ExpertPlan& plan, int64_t rows,
                      const at::Tensor& weights) {
  constexpr int64_t kRowsTogether = 64;
  const int64_t size = slots.size(1), choices = plan.slot_of_choice.numel() / rows;
  at::Tensor y = at::empty({rows, size}, slots.options());
  const auto* slot_of_choice = plan.slot_of_choice.const_data_ptr<int64_t>();
  const float* weight = weights.defined() ? weights.const_data_ptr<float>() : nullptr;
  const float* values = slots.const_data_ptr<float>();
  auto* sums = y.mutable_data_ptr<float>();
  InParallel((rows + kRowsTogether - 1) / kRowsTogether, [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * kRowsTogether);
    for (int64_t row = task * kRowsTogether; row < end; ++row) {
      const int64_t* slot = slot_of_choice + row * choices;
      SumOfRows({.values = values,
                 .rows = slot,
                 .weights = weight != nullptr ? weight + row * choices : nullptr,
                 .next = row + 1 < rows ? slot + choices : nullptr,
                 .count = choices},
                size, sums + row * size);
    }
  });
  return y;
}

// The weights of choices, [rows, choices], by slot.
at::Tensor BySlot(const at::Tensor& weights, const ExpertPlan& plan) {
  at::Tensor by_slot = at::empty({plan.slot_of_choice.numel()}, weights.options());
  by_slot.index_copy_(0, plan.slot_of_choice, weights.reshape({-1}));
  return by_slot;
}

}  // namespace

at::Tensor ApplyMlpOnCpu(const at::Tensor& x, const MlpWeights& weights, const Adapter& adapter) {
  at::Tensor y;
  std::shared_ptr<CpuExperts> experts;
  {
    at::NoGradGuard no_grad;
    experts = std::make_shared<CpuExperts>(x.contiguous(), std::span(&weights, 1), adapter,
                                           CpuExperts::Slots{{x.size(0)}, {}});
    y = experts->Forward();
  }
  Tensors inputs = experts->Factors();
  inputs.insert(inputs.begin(), x);
  if (!NeedsGradient(inputs)) return y;
  return Differentiable(y, inputs, [experts, wanted = Wanted(x)](const Tensors& gradients) {
    CpuExperts::Gradients made = experts->Backward(gradients[0].contiguous(), {}, wanted);
    made.factors.insert(made.factors.begin(), made.slots);
    return std::move(made.factors);
  });
}

at::Tensor ApplyExpertsOnCpu(const at::Tensor& x, std::span<const MlpWeights> weights,
                             const Adapter& adapter, const ExpertPlan& plan,
                             const at::Tensor& shares) {
  at::Tensor y;
  std::shared_ptr<CpuExperts> experts;
  {
    at::NoGradGuard no_grad;
    experts = std::make_shared<CpuExperts>(x.contiguous(), weights, adapter,
                                           CpuExperts::Slots{plan.rows, plan.row_of_slot});
    y = SumOfSlots(experts->Forward(), plan, x.size(0), shares.contiguous());
  }
  Tensors inputs = experts->Factors();
  inputs.insert(inputs.begin(), {x, shares});
  if (!NeedsGradient(inputs)) return y;
  return Differentiable(
      y, inputs,
      [experts, plan, shares = shares.detach(), wanted = Wanted(x)](const Tensors& gradients) {
        CpuExperts::Gradients made =
            experts->Backward(gradients[0].contiguous(), BySlot(shares, plan), wanted);
        at::Tensor x_gradient;
        if (made.slots.defined()) x_gradient = SumOfSlots(made.slots, plan, shares.size(0), {});
        const at::Tensor by_choice = made.weights.index_select(0, plan.slot_of_choice);
        made.factors.insert(made.factors.begin(), {x_gradient, by_choice.view_as(shares)});
        return std::move(made.factors);
      });
}

}  // namespace fedtune
