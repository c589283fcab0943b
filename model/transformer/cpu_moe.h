// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <span>

#include "ATen/core/Tensor.h"
#include "model/transformer/adapter.h"
#include "model/transformer/experts.h"
#include "model/transformer/mlp.h"

namespace fedtune {

// ApplyMlp() and the routed part of ApplyMoe() by CpuExperts, where CanCompute() is
// true. Differentiable; weights and adapter must outlive the derivative.
at::Tensor ApplyMlpOnCpu(const at::Tensor& x, const MlpWeights& weights, const Adapter& adapter);

// The sum over each row's experts, times `weights`, [rows, choices], fp32. The plan
// has no padding.
at::Tensor ApplyExpertsOnCpu(const at::Tensor& x, std::span<const MlpWeights> experts,
                             const Adapter& adapter, const ExpertPlan& plan,
                             const at::Tensor& weights);

}  // namespace fedtune
