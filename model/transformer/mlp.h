// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "ATen/core/Tensor.h"
#include "model/transformer/adapter.h"
#include "model/transformer/linear.h"

namespace fedtune {

// down(silu(gate(x)) * up(x)): a dense layer's MLP, the shared experts as one,
// or one routed expert.
struct MlpWeights {
  Linear gate_proj;
  Linear up_proj;
  Linear down_proj;
};

// Differentiable; weights and adapter must outlive the derivative. x is [rows,
// hidden].
at::Tensor ApplyMlp(const at::Tensor& x, const MlpWeights& weights, const Adapter& adapter);

}  // namespace fedtune
