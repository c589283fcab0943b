// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/expert_plan.h"

#include <bit>
#include <numeric>
#include <span>

#include "ATen/ops/empty.h"
#include "ATen/ops/zeros.h"

namespace fedtune {
namespace {

// Rounded up to five binary digits where it is large. oneDNN prepares itself
// for every new number of rows, which costs more than a few rows too many.
int64_t WithPadding(int64_t count) {
  if (count < 128) return count;
  const auto step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(count) / 16));
  return (count + step - 1) / step * step;
}

}  // namespace

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

at::Tensor ByChoice(const at::Tensor& slots, const ExpertPlan& plan, int64_t choices) {
  return slots.index_select(0, plan.slot_of_choice).unflatten(0, {-1, choices});
}

at::Tensor WeightOfSlot(const at::Tensor& weights, const ExpertPlan& plan, at::ScalarType type) {
  at::Tensor of_slot = at::zeros({plan.row_of_slot.size(0), 1}, weights.options().dtype(type));
  return of_slot.index_copy_(0, plan.slot_of_choice, weights.reshape({-1, 1}).to(type));
}

}  // namespace fedtune
