// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/rms_norm.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/mul.h"
#include "model/transformer/differentiable.h"
#include "model/transformer/matrix_products.h"
#include "model/transformer/parallel.h"
#include "model/transformer/vector_kernels.h"

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

bool HasKernel(const at::Tensor& x) {
  return x.is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 2 && x.stride(1) == 1 &&
         HasMatrixKernels();
}

// Calls `work` with each row, on all threads.
void ForEachRow(int64_t rows, const std::function<void(int64_t)>& work) {
  constexpr int64_t kRowsTogether = 64;
  InParallel((rows + kRowsTogether - 1) / kRowsTogether, [&](int64_t task) {
    const int64_t end = std::min(rows, (task + 1) * kRowsTogether);
    for (int64_t row = task * kRowsTogether; row < end; ++row) work(row);
  });
}

// What the derivative needs of rows that were normed.
struct NormedRows {
  at::Tensor x;
  at::Tensor weight;
  std::vector<float> inverse;

  // Given the gradient of what they became, and that of x itself or none.
  at::Tensor Backward(const at::Tensor& y_gradient, const at::Tensor& by_x) const {
    const int64_t size = x.size(1), stride = x.stride(0);
    at::Tensor x_gradient = at::empty(x.sizes(), x.options());
    const float *from = y_gradient.const_data_ptr<float>(), *values = x.const_data_ptr<float>();
    const float* more = by_x.defined() ? by_x.const_data_ptr<float>() : nullptr;
    auto* to = x_gradient.mutable_data_ptr<float>();
    ForEachRow(x.size(0), [&](int64_t row) {
      RmsNormRowBackward(from + row * size, values + row * stride, weight.const_data_ptr<float>(),
                         inverse[static_cast<size_t>(row)], size,
                         more != nullptr ? more + row * size : nullptr, to + row * size);
    });
    return x_gradient;
  }
};

at::Tensor RmsNormOnCpu(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  const int64_t rows = x.size(0), size = x.size(1), stride = x.stride(0);
  at::Tensor y;
  {
    at::NoGradGuard no_grad;
    y = at::empty(x.sizes(), x.options());
  }
  NormedRows kept = {x, weight, std::vector<float>(static_cast<size_t>(rows))};
  const float* values = x.const_data_ptr<float>();
  auto* normed = y.mutable_data_ptr<float>();
  ForEachRow(rows, [&](int64_t row) {
    kept.inverse[static_cast<size_t>(row)] = RmsNormRow(
        values + row * stride, weight.const_data_ptr<float>(), epsilon, size, normed + row * size);
  });
  return Differentiable(y, {x}, [kept = std::move(kept)](const std::vector<at::Tensor>& gradients) {
    return std::vector<at::Tensor>{kept.Backward(gradients[0].contiguous(), {})};
  });
}

// Of sums that were normed, given the gradients of both.
at::Tensor NormedSumBackward(const NormedRows& sums, const std::vector<at::Tensor>& gradients) {
  const auto whole = [](const at::Tensor& x) { return x.defined() ? x.contiguous() : x; };
  return gradients[1].defined() ? sums.Backward(whole(gradients[1]), whole(gradients[0]))
                                : gradients[0];
}

NormedSum AddAndNormOnCpu(const at::Tensor& x, const at::Tensor& change, const at::Tensor& weight,
                          double epsilon) {
  const int64_t rows = x.size(0), size = x.size(1);
  const int64_t stride = x.stride(0), change_stride = change.stride(0);
  NormedRows kept = {{}, weight, std::vector<float>(static_cast<size_t>(rows))};
  at::Tensor sum, y;
  {
    at::NoGradGuard no_grad;
    kept.x = at::empty(x.sizes(), x.options());
    sum = kept.x.detach();  // Another tensor, as the derivative must not hold this one.
    y = at::empty(x.sizes(), x.options());
  }
  const float *values = x.const_data_ptr<float>(), *changes = change.const_data_ptr<float>();
  auto *sums = sum.mutable_data_ptr<float>(), *normed = y.mutable_data_ptr<float>();
  ForEachRow(rows, [&](int64_t row) {
    float* to = sums + row * size;
    AddRows(values + row * stride, changes + row * change_stride, size, to);
    kept.inverse[static_cast<size_t>(row)] =
        RmsNormRow(to, weight.const_data_ptr<float>(), epsilon, size, normed + row * size);
  });
  const std::vector<at::Tensor> made =
      Differentiable(std::vector<at::Tensor>{sum, y}, {x, change},
                     [kept = std::move(kept)](const std::vector<at::Tensor>& gradients) {
                       const at::Tensor by_both = NormedSumBackward(kept, gradients);
                       return std::vector<at::Tensor>{by_both, by_both};
                     });
  return {made[0], made[1]};
}

}  // namespace

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double epsilon) {
  if (HasKernel(x)) return RmsNormOnCpu(x, weight, epsilon);
  at::Tensor inverse, y;
  {
    at::NoGradGuard no_grad;
    const at::Tensor wide = x.to(at::kFloat);
    inverse = InverseRms(wide, epsilon);
    y = (wide * inverse).mul_(weight).to(x.scalar_type());
  }
  return Differentiable(y, {x}, [x, weight, inverse](const std::vector<at::Tensor>& gradients) {
    return std::vector<at::Tensor>{
        RmsNormBackward(gradients[0], x.to(at::kFloat), weight, inverse).to(x.scalar_type())};
  });
}

NormedSum AddAndNorm(const at::Tensor& x, const at::Tensor& change, const at::Tensor& weight,
                     double epsilon) {
  if (HasKernel(x) && HasKernel(change)) return AddAndNormOnCpu(x, change, weight, epsilon);
  const at::Tensor sum = x + change;
  return {sum, RmsNorm(sum, weight, epsilon)};
}

}  // namespace fedtune
