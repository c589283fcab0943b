// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <vector>

#include "ATen/core/Tensor.h"

namespace fedtune {

// y = function(x), without what its derivative with respect to x and `parameters`
// needs: until that is asked for, x alone is kept, and then the function is called once
// more. Its gradients have the bits of those without this if the function gives equal
// bits each time. What it refers to must outlive the derivative.
//
//   x = Recomputed(function(x), x, {lora.a, lora.b}, function);
//
// `parameters` are all trained leaves that the function depends on; undefined ones, and
// those that require no gradient, are left out.
at::Tensor Recomputed(const at::Tensor& y, const at::Tensor& x, std::vector<at::Tensor> parameters,
                      std::function<at::Tensor(const at::Tensor& x)> function);

}  // namespace fedtune
