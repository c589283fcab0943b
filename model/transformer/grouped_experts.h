// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "model/transformer/expert_plan.h"

namespace fedtune {

// Whether GPUs have grouped products in bf16 for so many experts of these sizes: rows
// must be a multiple of 16 bytes, and experts fewer than 1,024.
constexpr bool CanGroup(int64_t experts, int64_t width, int64_t hidden) {
  return experts < 1024 && width % 8 == 0 && hidden % 8 == 0;
}

// [experts, 2 * width, hidden] and [experts, hidden, width], contiguous.
struct GroupedWeights {
  at::Tensor gate_up;
  at::Tensor down;
};

// The sum over each row's experts, times `weights`, [rows, choices], fp32: all experts
// in one grouped product for gate with up, and one for down. Differentiable with respect
// to x and the weights; for that it keeps what gate and up made, and nothing else that
// is large.
at::Tensor MixGroupedExperts(const at::Tensor& x, const GroupedWeights& experts,
                             const ExpertPlan& plan, const at::Tensor& weights);

}  // namespace fedtune
