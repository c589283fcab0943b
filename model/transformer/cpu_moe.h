// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "ATen/core/Tensor.h"
#include "model/transformer/adapter.h"
#include "model/transformer/experts.h"
#include "model/transformer/mlp.h"

namespace fedtune {

// ApplyMlp() and ApplyMoe() by CpuExperts, where CanCompute() is true of all experts.
// Differentiable; weights and adapter must outlive the derivative.
at::Tensor ApplyMlpOnCpu(const at::Tensor& x, const MlpWeights& weights, const Adapter& adapter);

// The sum over each row's experts, times `shares`, [rows, choices], fp32, and what the
// shared ones make of it. The plan has no padding.
at::Tensor ApplyMoeOnCpu(const at::Tensor& x, const MoeWeights& moe, const Adapter& adapter,
                         const ExpertPlan& plan, const at::Tensor& shares);

}  // namespace fedtune
