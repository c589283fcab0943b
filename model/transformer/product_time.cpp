// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/product_time.h"

#include <chrono>
#include <ctime>
#include <functional>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/ones.h"
#include "model/transformer/cpu_linear.h"
#include "model/transformer/matrix_tiles.h"
#include "model/transformer/parallel.h"
#include "model/transformer/products.h"

namespace fedtune {
namespace {

at::ScalarType TypeOf(ProductWeights weights) {
  return weights == ProductWeights::kBf16 ? at::kBFloat16 : at::kFloat;
}

ProductTimes TimeOf(const std::function<void()>& work) {
  const auto started = std::chrono::steady_clock::now();
  const double cpu = ProcessCpuSeconds();
  work();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count(),
          ProcessCpuSeconds() - cpu};
}

// The sum over all shapes of what is best for each.
template <typename Shape>
ProductTimes SumOfBest(std::span<const Shape> shapes, ProductWeights weights,
                       ProductTimes (*by_library)(const Shape&, at::ScalarType),
                       ProductTimes (*by_ours)(const Shape&, at::ScalarType)) {
  const at::NoGradGuard no_grad;
  const at::ScalarType type = TypeOf(weights);
  ProductTimes times;
  for (const Shape& shape : shapes) {
    ProductTimes best = by_library(shape, type);
    if (HasMatrixKernels()) {
      const ProductTimes ours = by_ours(shape, type);
      if (ours.cpu_seconds < best.cpu_seconds) best = ours;
    }
    times.wall_seconds += best.wall_seconds;
    times.cpu_seconds += best.cpu_seconds;
  }
  return times;
}

std::vector<Linear> LayersOf(const LayerShape& shape, at::ScalarType type) {
  std::vector<Linear> layers;
  for (int64_t i = 0; i < shape.count; ++i) {
    layers.push_back(
        {at::ones({shape.out_features, shape.in_features}, type), i, /*rounds_inputs=*/true});
  }
  return layers;
}

ProductTimes LayersByLibrary(const LayerShape& shape, at::ScalarType type) {
  const at::Tensor x = at::ones({shape.rows, shape.in_features}, type);
  const std::vector<Linear> layers = LayersOf(shape, type);
  return TimeOf([&] {
    for (const Linear& layer : layers) Product(Product(x, layer.weight), layer.weight.t());
  });
}

ProductTimes LayersByOurs(const LayerShape& shape, at::ScalarType type) {
  const at::Tensor x = at::ones({shape.rows, shape.in_features}, at::kFloat);
  const std::vector<Linear> layers = LayersOf(shape, type);
  return TimeOf([&] {
    for (const Linear& layer : layers) {
      const CpuLinearResult result = CpuLinearForward(Prepared(x, layer), layer, {});
      CpuLinearBackward(result.y, {}, {}, layer, {}, InputGradient::kCompute);
    }
  });
}

// Rows begin at even places, as pairs have to.
at::Tensor Factor(int64_t rows, int64_t columns, bool is_turned, at::ScalarType type) {
  if (is_turned) return Factor(columns, rows, false, type).t();
  return at::ones({rows, 2 * PairsOf(columns)}, type).narrow(1, 0, columns);
}

ProductTimes ProductsByLibrary(const ProductShape& shape, at::ScalarType type) {
  const at::Tensor left = Factor(shape.rows, shape.depth, shape.left_is_turned, type);
  const at::Tensor right = Factor(shape.depth, shape.columns, shape.right_is_turned, type);
  return TimeOf([&] {
    for (int64_t i = 0; i < shape.count; ++i) Product(left, right.t());
  });
}

MatrixTerm TermOf(const ProductShape& shape, const at::Tensor& left, const at::Tensor& right) {
  MatrixTerm term = {LeftOf(left), {}, shape.depth};
  if (shape.left_is_turned) {
    term.left = {left.mutable_data_ptr<float>(), left.stride(0), left.stride(1), nullptr};
  }
  const bool rounds = right.scalar_type() == at::kBFloat16;
  term.right = {right.const_data_ptr(), right.stride(shape.right_is_turned ? 1 : 0),
                shape.right_is_turned ? RightOrder::kByColumn : RightOrder::kByDepth,
                rounds ? RightType::kBf16ByBf16 : RightType::kFp32};
  return term;
}

// Many products are shared out to the threads, each of a few is.
ProductTimes ProductsByOurs(const ProductShape& shape, at::ScalarType type) {
  if (type == at::kBFloat16 && !HasBf16Kernels()) type = at::kFloat;
  const at::ScalarType left_type = shape.left_is_turned ? at::kFloat : type;
  const at::Tensor left = Factor(shape.rows, shape.depth, shape.left_is_turned, left_type);
  const at::Tensor right = Factor(shape.depth, shape.columns, shape.right_is_turned, type);
  const MatrixTerm term = TermOf(shape, left, right);
  const auto result_of = [&shape](const at::Tensor& y) {
    return MatrixResult{y.mutable_data_ptr<float>(), shape.columns, shape.rows, shape.columns};
  };
  return TimeOf([&] {
    if (shape.count < 4 * at::get_num_threads()) {
      const at::Tensor y = at::empty({shape.rows, shape.columns});
      for (int64_t i = 0; i < shape.count; ++i) MultiplyInParallel({&term, 1}, result_of(y));
      return;
    }
    InParallel(shape.count, [&](int64_t) {
      Multiply({&term, 1}, result_of(at::empty({shape.rows, shape.columns})));
    });
  });
}

}  // namespace

ProductTimes TimeLayers(std::span<const LayerShape> shapes, ProductWeights weights) {
  return SumOfBest(shapes, weights, LayersByLibrary, LayersByOurs);
}

ProductTimes TimeProducts(std::span<const ProductShape> shapes, ProductWeights weights) {
  return SumOfBest(shapes, weights, ProductsByLibrary, ProductsByOurs);
}

double ProcessCpuSeconds() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace fedtune
