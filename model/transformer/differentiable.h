// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <vector>

#include "ATen/core/Tensor.h"

namespace fedtune {

// The gradients of a function's inputs, in their order, given those of its
// outputs; an undefined tensor stands for zeros, on both sides.
using Backward =
    std::function<std::vector<at::Tensor>(const std::vector<at::Tensor>& output_gradients)>;

// Whether a derivative of a function of `inputs` will be asked for.
bool NeedsGradient(at::TensorList inputs);

// Makes `backward` the derivative of `outputs` with respect to `inputs`. The
// outputs are fresh tensors that were computed without recording:
//
//   at::Tensor y;
//   {
//     at::NoGradGuard no_grad;
//     y = x * x;
//   }
//   return Differentiable({y}, {x}, [x](const auto& g) { return Tensors{2 * x * g[0]}; })[0];
//
// `backward` may hold inputs, but not the outputs, which would never be freed.
// It runs at most once, and what it holds is freed with it.
std::vector<at::Tensor> Differentiable(std::vector<at::Tensor> outputs, at::TensorList inputs,
                                       Backward backward);

// The same for a single output.
at::Tensor Differentiable(at::Tensor output, at::TensorList inputs, Backward backward);

}  // namespace fedtune
