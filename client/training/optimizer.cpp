// SPDX-License-Identifier: Apache-2.0

#include "client/training/optimizer.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/sqrt.h"
#include "ATen/ops/zeros_like.h"
#include "base/check.h"
#include "model/transformer/matrix_products.h"
#include "model/transformer/parallel.h"
#include "model/transformer/vector_kernels.h"

namespace fedtune {
namespace {

constexpr double kBeta1 = 0.9;
constexpr double kBeta2 = 0.999;
constexpr double kEpsilon = 1e-8;

void Load(const std::vector<float>& values, at::Tensor& tensor) {
  Check(std::ssize(values) == tensor.numel(), "moments are of as many values as there are");
  tensor.copy_(at::from_blob(const_cast<float*>(values.data()), {tensor.numel()}, at::kFloat));
}

std::vector<float> Store(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kCPU);
  const float* data = values.const_data_ptr<float>();
  return {data, data + values.numel()};
}

// On the CPU a sum of fixed parts, so that any number of threads gives equal bits.
double Norm(const at::Tensor& values) {
  if (!values.is_cpu()) return at::linalg_vector_norm(values, 2).item<double>();
  constexpr int64_t kPart = 1 << 16;
  const int64_t size = values.numel();
  const float* data = values.const_data_ptr<float>();
  std::vector<double> sums(static_cast<size_t>((size + kPart - 1) / kPart));
  InParallel(std::ssize(sums), [&](int64_t part) {
    const int64_t begin = part * kPart, end = std::min(size, (part + 1) * kPart);
    double& sum = sums[static_cast<size_t>(part)];
    if (HasMatrixKernels()) {
      sum = SumOfSquares(data + begin, end - begin);
      return;
    }
    for (int64_t i = begin; i < end; ++i) {
      sum += static_cast<double>(data[i]) * static_cast<double>(data[i]);
    }
  });
  return std::sqrt(std::accumulate(sums.begin(), sums.end(), 0.0));
}

}  // namespace

Optimizer::Optimizer(Parameters parameters, const Options& options)
    : parameters_(std::move(parameters)), options_(options) {
  if (options_.kind == LocalOptimizer::kAdamW) {
    first_moment_ = at::zeros_like(parameters_.values);
    second_moment_ = at::zeros_like(parameters_.values);
  }
}

void Optimizer::Resume(int64_t steps, const std::vector<float>& first,
                       const std::vector<float>& second) {
  steps_ = steps;
  if (options_.kind != LocalOptimizer::kAdamW) return;
  Load(first, first_moment_);
  Load(second, second_moment_);
}

Optimizer::Moments Optimizer::StoreMoments() const {
  if (options_.kind != LocalOptimizer::kAdamW) return {};
  return {.first = Store(first_moment_), .second = Store(second_moment_)};
}

void Optimizer::Step(double learning_rate) {
  at::NoGradGuard no_grad;
  ++steps_;
  const double factor = ClippingFactor();
  const bool has_kernel = parameters_.values.is_cpu() && HasMatrixKernels();
  if (options_.kind == LocalOptimizer::kAdamW && has_kernel) {
    StepAdamWOnCpu(learning_rate, factor);
    return;
  }
  at::Tensor values = parameters_.values;
  if (factor != 1) parameters_.gradients.mul_(factor);
  if (options_.weight_decay != 0) values.mul_(1 - learning_rate * options_.weight_decay);
  if (options_.kind == LocalOptimizer::kAdamW) {
    StepAdamW(learning_rate);
  } else {
    values.sub_(parameters_.gradients, learning_rate);
  }
  parameters_.gradients.zero_();
}

double Optimizer::ClippingFactor() const {
  if (options_.max_gradient_norm <= 0) return 1;
  const double norm = Norm(parameters_.gradients);
  return norm > options_.max_gradient_norm ? options_.max_gradient_norm / (norm + 1e-6) : 1;
}

void Optimizer::StepAdamWOnCpu(double learning_rate, double gradient_factor) {
  constexpr int64_t kPart = 1 << 14;
  const auto t = static_cast<double>(steps_);
  const AdamWFactors factors = {
      .gradient = static_cast<float>(gradient_factor),
      .kept = static_cast<float>(1 - learning_rate * options_.weight_decay),
      .first = static_cast<float>(1 - kBeta1),
      .second = static_cast<float>(1 - kBeta2),
      .inverse_root = static_cast<float>(1 / std::sqrt(1 - std::pow(kBeta2, t))),
      .epsilon = static_cast<float>(kEpsilon),
      .step = static_cast<float>(-learning_rate / (1 - std::pow(kBeta1, t)))};
  const auto data = [](const at::Tensor& x) { return x.mutable_data_ptr<float>(); };
  const AdamWValues all = {data(parameters_.values), data(parameters_.gradients),
                           data(first_moment_), data(second_moment_)};
  const int64_t size = parameters_.values.numel();
  InParallel((size + kPart - 1) / kPart, [&](int64_t part) {
    const int64_t begin = part * kPart;
    fedtune::StepAdamW(
        factors, {all.values + begin, all.gradients + begin, all.first + begin, all.second + begin},
        std::min(kPart, size - begin));
  });
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
