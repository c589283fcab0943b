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

// Softmax scores in fp32; the best experts of all or of the best groups.
Routing Route(const at::Tensor& x, const Linear& gate, const LoraFactors& lora,
              const MoeConfig& moe);

}  // namespace fedtune
