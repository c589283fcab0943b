// SPDX-License-Identifier: Apache-2.0

#include "client/training/optimizer.h"

#include <cmath>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/sqrt.h"
#include "ATen/ops/zeros_like.h"

namespace fedtune {
namespace {

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;

}  // namespace

Optimizer::Optimizer(Parameters parameters, const Options& options)
    : parameters_(std::move(parameters)), options_(options) {
  if (options_.kind == LocalOptimizer::kAdamW) {
    first_moment_ = at::zeros_like(parameters_.values);
    second_moment_ = at::zeros_like(parameters_.values);
  }
}

void Optimizer::Step(double learning_rate) {
  at::NoGradGuard no_grad;
  at::Tensor values = parameters_.values;
  if (options_.max_gradient_norm > 0) ClipGradients();
  if (options_.weight_decay != 0) values.mul_(1 - learning_rate * options_.weight_decay);
  ++steps_;
  if (options_.kind == LocalOptimizer::kAdamW) {
    StepAdamW(learning_rate);
  } else {
    values.sub_(parameters_.gradients, learning_rate);
  }
  parameters_.gradients.zero_();
}

void Optimizer::ClipGradients() {
  const double norm = at::linalg_vector_norm(parameters_.gradients, 2).item<double>();
  if (norm > options_.max_gradient_norm) {
    parameters_.gradients.mul_(options_.max_gradient_norm / (norm + 1e-6));
  }
}

void Optimizer::StepAdamW(double learning_rate) {
  const at::Tensor& gradients = parameters_.gradients;
  const auto t = static_cast<double>(steps_);
  first_moment_.lerp_(gradients, 1 - kBeta1);
  second_moment_.mul_(kBeta2).addcmul_(gradients, gradients, 1 - kBeta2);
  const double root = std::sqrt(1 - std::pow(kBeta2, t));
  const at::Tensor denominator = at::sqrt(second_moment_).div_(root).add_(kEpsilon);
  parameters_.values.addcdiv_(first_moment_, denominator,
                              -learning_rate / (1 - std::pow(kBeta1, t)));
}

}  // namespace fedtune
