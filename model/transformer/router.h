// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "ATen/core/Tensor.h"
#include "model/checkpoint/model_config.h"
#include "model/transformer/linear.h"

namespace fedtune {

// Which experts each row goes to, and with which weights.
struct Routing {
  at::Tensor experts;  // [rows, experts per token], int64.
  at::Tensor weights;  // The same shape, fp32; differentiable.
};

// Scores are computed in fp32. `bias`, [experts], is added to them for the choice
// alone; undefined where the model has none.
Routing Route(const at::Tensor& x, const Linear& gate, const LoraFactors& lora,
              const at::Tensor& bias, const MoeConfig& moe);

}  // namespace fedtune
