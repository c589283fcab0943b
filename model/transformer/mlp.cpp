// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/mlp.h"

#include "ATen/TensorOperators.h"
#include "ATen/ops/silu.h"

namespace fedtune {

at::Tensor ApplyMlp(const at::Tensor& x, const MlpWeights& weights, const Adapter& adapter) {
  const at::Tensor gate = ApplyLinear(x, weights.gate_proj, adapter.Of(weights.gate_proj));
  const at::Tensor up = ApplyLinear(x, weights.up_proj, adapter.Of(weights.up_proj));
  return ApplyLinear(at::silu(gate) * up, weights.down_proj, adapter.Of(weights.down_proj));
}

}  // namespace fedtune
