// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/sigmoid.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "ATen/ops/empty_like.h"
#include "ATen/ops/sigmoid.h"
#include "ATen/ops/sigmoid_backward.h"
#include "model/transformer/differentiable.h"
#include "model/transformer/parallel.h"

namespace fedtune {
namespace {

constexpr int64_t kValuesTogether = 1 << 13;

at::Tensor SigmoidOnCpu(const at::Tensor& x) {
  const at::Tensor y = at::empty_like(x);
  const float* from = x.const_data_ptr<float>();
  auto* to = y.mutable_data_ptr<float>();
  InParallel((x.numel() + kValuesTogether - 1) / kValuesTogether, [&](int64_t task) {
    const int64_t end = std::min(x.numel(), (task + 1) * kValuesTogether);
    for (int64_t i = task * kValuesTogether; i < end; ++i) to[i] = 1 / (1 + std::exp(-from[i]));
  });
  return y;
}

}  // namespace

at::Tensor Sigmoid(const at::Tensor& x) {
  if (!x.is_cpu()) return at::sigmoid(x);
  at::Tensor y, values;
  {
    at::NoGradGuard no_grad;
    y = SigmoidOnCpu(x.contiguous());
    values = y.detach();  // What the derivative takes must not be the output itself.
  }
  return Differentiable(y, {x}, [values](const std::vector<at::Tensor>& gradients) {
    return std::vector<at::Tensor>{at::sigmoid_backward(gradients[0], values)};
  });
}

}  // namespace fedtune
