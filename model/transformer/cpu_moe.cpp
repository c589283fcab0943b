// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/cpu_moe.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
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

// For each row the sum of its choices' slots, times `weights` if defined, added to `y` if that is.
at::Tensor SumOfSlots(const at::Tensor& slots, const ExpertPlan& plan, int64_t rows,
                      const at::Tensor& weights, at::Tensor y) {
  constexpr int64_t kRowsTogether = 64;
  const int64_t size = slots.size(1), choices = plan.slot_of_choice.numel() / rows;
  const bool add = y.defined();
  if (!add) y = at::empty({rows, size}, slots.options());
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
                 .count = choices,
                 .add = add},
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

std::span<const MlpWeights> SharedOf(const MoeWeights& moe) {
  return moe.shared ? std::span(&*moe.shared, 1) : std::span<const MlpWeights>();
}

// All of a layer's experts, which take the same rows and gradients, prepared once for all of
// them, and whose results are added up in one pass.
class LayerExperts {
 public:
  LayerExperts(const at::Tensor& x, const MoeWeights& moe, const Adapter& adapter,
               const ExpertPlan& plan)
      : moe_(moe), plan_(plan) {
    const at::Tensor rows = InputsOf(x);
    routed_.emplace(rows, moe.experts, adapter, CpuExperts::Slots{plan.rows, plan.row_of_slot});
    if (!moe.shared) return;
    shared_.emplace(rows, SharedOf(moe), adapter, CpuExperts::Slots{{x.size(0)}, {}});
  }

  at::Tensor Forward(const at::Tensor& shares) {
    const at::Tensor y = shared_ ? shared_->Forward() : at::Tensor();
    return SumOfSlots(routed_->Forward(), plan_, shares.size(0), shares, y);
  }

  Tensors Factors() const {
    Tensors factors = routed_->Factors();
    if (shared_) Append(shared_->Factors(), factors);
    return factors;
  }

  // Gradients of x, the shares and Factors().
  Tensors Backward(const at::Tensor& y_gradient, const at::Tensor& shares,
                   InputGradient input_gradient) {
    const at::Tensor by_y = InputsOf(y_gradient);
    CpuExperts::Gradients shared;
    if (shared_) shared = shared_->Backward(by_y, {}, input_gradient);
    const CpuExperts::Gradients routed =
        routed_->Backward(by_y, BySlot(shares, plan_), input_gradient);
    at::Tensor by_x;
    if (routed.slots.defined()) {
      by_x = SumOfSlots(routed.slots, plan_, shares.size(0), {}, shared.slots);
    }
    Tensors gradients = {by_x,
                         routed.weights.index_select(0, plan_.slot_of_choice).view_as(shares)};
    Append(routed.factors, gradients);
    Append(shared.factors, gradients);
    return gradients;
  }

 private:
  static void Append(const Tensors& tensors, Tensors& to) {
    to.insert(to.end(), tensors.begin(), tensors.end());
  }

  // x, or the gradient of y.
  at::Tensor InputsOf(const at::Tensor& x) const {
    const at::Tensor rows = x.contiguous();
    const bool all_round = CpuExperts::Round(moe_.experts) && CpuExperts::Round(SharedOf(moe_));
    return all_round ? Prepared(rows, moe_.experts[0].gate_proj) : rows;
  }

  const MoeWeights& moe_;
  const ExpertPlan plan_;
  std::optional<CpuExperts> routed_, shared_;
};

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

at::Tensor ApplyMoeOnCpu(const at::Tensor& x, const MoeWeights& moe, const Adapter& adapter,
                         const ExpertPlan& plan, const at::Tensor& shares) {
  at::Tensor y;
  std::shared_ptr<LayerExperts> experts;
  {
    at::NoGradGuard no_grad;
    experts = std::make_shared<LayerExperts>(x, moe, adapter, plan);
    y = experts->Forward(shares.contiguous());
  }
  Tensors inputs = experts->Factors();
  inputs.insert(inputs.begin(), {x, shares});
  if (!NeedsGradient(inputs)) return y;
  return Differentiable(
      y, inputs, [experts, shares = shares.detach(), wanted = Wanted(x)](const Tensors& gradients) {
        return experts->Backward(gradients[0], shares, wanted);
      });
}

}  // namespace fedtune
