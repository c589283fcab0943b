// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/mlp.h"

#include <span>

#include "model/transformer/cpu_experts.h"
#include "model/transformer/cpu_moe.h"
#include "model/transformer/experts.h"

namespace fedtune {

at::Tensor ApplyMlp(const at::Tensor& x, const MlpWeights& weights, const Adapter& adapter) {
  if (CpuExperts::CanCompute(x, std::span(&weights, 1), adapter)) {
    return ApplyMlpOnCpu(x, weights, adapter);
  }
  return ApplyExpertsInTurn(x, std::span(&weights, 1), adapter, {x.size(0)});
}

}  // namespace fedtune
