// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/product_time.h"

#include <chrono>
#include <ctime>
#include <functional>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "ATen/ops/ones.h"
#include "model/transformer/cpu_linear.h"
#include "model/transformer/products.h"

namespace fedtune {
namespace {

using ProductFunction = std::function<void(const at::Tensor& x, const Linear& linear)>;

// The frozen layer's product and that for the gradient of x by LibTorch.
void LibraryProducts(const at::Tensor& x, const Linear& linear) {
  const at::Tensor y = Product(x, linear.weight);
  Product(y, linear.weight.t());
}

// The same by our own kernels.
void OwnProducts(const at::Tensor& x, const Linear& linear) {
  const CpuLinearResult result = CpuLinearForward(Prepared(x, linear), linear, {});
  CpuLinearBackward(result.y, {}, {}, linear, {}, InputGradient::kCompute);
}

// x is of `x_type`, the weights are of `type`.
ProductTimes TimeOf(const ProductShape& shape, at::ScalarType x_type, at::ScalarType type,
                    const ProductFunction& products) {
  const at::Tensor x = at::ones({shape.rows, shape.in_features}, x_type);
  std::vector<Linear> layers;
  for (int64_t i = 0; i < shape.count; ++i) {
    layers.push_back(
        {at::ones({shape.out_features, shape.in_features}, type), i, /*rounds_inputs=*/true});
  }
  const auto started = std::chrono::steady_clock::now();
  const double cpu = ProcessCpuSeconds();
  for (const Linear& layer : layers) products(x, layer);
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count(),
          ProcessCpuSeconds() - cpu};
}

ProductTimes BestTimeOf(const ProductShape& shape, at::ScalarType type) {
  const ProductTimes library = TimeOf(shape, type, type, LibraryProducts);
  if (!HasMatrixKernels()) return library;
  const ProductTimes own = TimeOf(shape, at::kFloat, type, OwnProducts);
  return own.cpu_seconds < library.cpu_seconds ? own : library;
}

}  // namespace

ProductTimes TimeProducts(std::span<const ProductShape> shapes, ProductWeights weights) {
  const at::ScalarType type = weights == ProductWeights::kBf16 ? at::kBFloat16 : at::kFloat;
  const at::NoGradGuard no_grad;
  ProductTimes times;
  for (const ProductShape& shape : shapes) {
    const ProductTimes best = BestTimeOf(shape, type);
    times.wall_seconds += best.wall_seconds;
    times.cpu_seconds += best.cpu_seconds;
  }
  return times;
}

double ProcessCpuSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace fedtune
