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
#include "model/transformer/parallel.h"

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
    double sum = 0;
    for (int64_t i = part * kPart; i < std::min(size, (part + 1) * kPart); ++i) {
      sum += static_cast<double>(data[i]) * static_cast<double>(data[i]);
    }
    sums[static_cast<size_t>(part)] = sum;
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
  const double norm = Norm(parameters_.gradients);
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
