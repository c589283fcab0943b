// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/product_time.h"

#include <chrono>
#include <ctime>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "ATen/ops/ones.h"
#include "model/transformer/products.h"

namespace fedtune {
namespace {

void AddTimeOf(const ProductShape& shape, ProductTimes& times) {
  const at::Tensor x = at::ones({shape.rows, shape.in_features});
  const at::Tensor y = at::ones({shape.rows, shape.out_features});
  std::vector<at::Tensor> weights;
  for (int64_t i = 0; i < shape.count; ++i) {
    weights.push_back(at::ones({shape.out_features, shape.in_features}));
  }
  const auto started = std::chrono::steady_clock::now();
  const double cpu = ProcessCpuSeconds();
  for (const at::Tensor& weight : weights) {
    Product(x, weight);
    Product(y, weight.t());
  }
  times.cpu_seconds += ProcessCpuSeconds() - cpu;
  times.wall_seconds +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
}

}  // namespace

ProductTimes TimeProducts(std::span<const ProductShape> shapes) {
  const at::NoGradGuard no_grad;
  ProductTimes times;
  for (const ProductShape& shape : shapes) AddTimeOf(shape, times);
  return times;
}

double ProcessCpuSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace fedtune
