// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "ATen/core/Tensor.h"

namespace fedtune {

// 1 / (1 + e^-x) of each value; differentiable. On the CPU x is fp32, and a result depends on
// its value alone: at::sigmoid() computes those at the end of what a thread takes otherwise than
// the others, so that its results differ with the number of threads.
at::Tensor Sigmoid(const at::Tensor& x);

}  // namespace fedtune
