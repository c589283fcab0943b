// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "ATen/core/Tensor.h"

namespace fedtune {

// x / sqrt(mean(x^2) + epsilon) * weight, row by row, in fp32 (Zhang and
// Sennrich, 2019). Differentiable with respect to x; the weight is frozen.
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double epsilon);

// x + change, and RmsNorm() of that, in one pass. Differentiable with respect to both; the
// sum is best used once, as what comes back through it is added to the norm's gradient here.
struct NormedSum {
  at::Tensor sum;
  at::Tensor normed;
};
NormedSum AddAndNorm(const at::Tensor& x, const at::Tensor& change, const at::Tensor& weight,
                     double epsilon);

}  // namespace fedtune
