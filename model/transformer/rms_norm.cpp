// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/rms_norm.h"

#include <cmath>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/mul.h"
#include "model/transformer/differentiable.h"

namespace fedtune {
namespace {

// 1 / sqrt(mean(x^2) + epsilon) for each row.
at::Tensor InverseRms(const at::Tensor& x, double epsilon) {
  const auto width = static_cast<double>(x.size(-1));
  at::Tensor norm = at::linalg_vector_norm(x, 2, {-1}, /*keepdim=*/true);
  return norm.square_().div_(width).add_(epsilon).rsqrt_();
}

at::Tensor RmsNormBackward(const at::Tensor& y_gradient, const at::Tensor& x,
                           const at::Tensor& weight, const at::Tensor& inverse) {
  const auto width = static_cast<double>(x.size(-1));
  at::Tensor scaled = y_gradient.to(at::kFloat) * weight;
  const at::Tensor along = (scaled * x).sum(-1, /*keepdim=*/true);
  const at::Tensor factor = inverse.pow(3).mul_(along).div_(-width);
  return scaled.mul_(inverse).addcmul_(x, factor);
}

}  // namespace

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  at::Tensor wide, inverse, y;
  {
    at::NoGradGuard no_grad;
    wide = x.to(at::kFloat);
    inverse = InverseRms(wide, epsilon);
    y = (wide * inverse).mul_(weight).to(x.scalar_type());
  }
  const at::ScalarType type = x.scalar_type();
  return Differentiable(y, {x},
                        [wide, weight, inverse, type](const std::vector<at::Tensor>& gradients) {
                          return std::vector<at::Tensor>{
                              RmsNormBackward(gradients[0], wide, weight, inverse).to(type)};
                        });
}

}  // namespace fedtune
