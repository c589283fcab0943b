// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/vector_products.h"

#include <cstdint>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/max.h"
#include "ATen/ops/mv.h"
#include "ATen/ops/ones.h"
#include "ATen/ops/randn.h"
#include "gtest/gtest.h"
#include "model/transformer/matrix_products.h"

namespace fedtune {
namespace {

constexpr int64_t kRows = 37;

// Every type, with numbers of columns that fill vectors and blocks and that do not.
class VectorProducts : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (!HasMatrixKernels()) GTEST_SKIP() << "this CPU has no kernels";
  }

  static at::Tensor Wide(const std::vector<float>& values) {
    return at::from_blob(const_cast<float*>(values.data()), {std::ssize(values)}, at::kFloat);
  }

  static double LargestOf(const at::Tensor& x) { return x.abs().max().item<double>(); }
};

TEST_P(VectorProducts, RowsTimesAVectorAreThoseOfLibTorch) {
  for (const int64_t columns : {1, 15, 16, 17, 64, 100, 128, 200, 576}) {
    const at::Tensor w = at::randn({kRows, columns}).to(GetParam()), x = at::randn({columns});
    const auto rows = WeightRowsOf(w);
    ASSERT_TRUE(rows);
    std::vector<float> y(kRows, 1.0F);
    const at::Tensor expected = at::mv(w.to(at::kFloat), x);
    MultiplyRows(*rows, kRows, x.const_data_ptr<float>(), y.data());
    EXPECT_LT(LargestOf(Wide(y) - expected), 1e-4) << columns;
    MultiplyRows(*rows, kRows, x.const_data_ptr<float>(), y.data(), /*add=*/true);
    EXPECT_LT(LargestOf(Wide(y) - expected - expected), 2e-4) << columns;
  }
}

TEST_P(VectorProducts, AddedRowsAreThoseOfLibTorch) {
  for (const int64_t columns : {1, 15, 16, 17, 64, 100, 128, 200, 576}) {
    const at::Tensor w = at::randn({kRows, columns}).to(GetParam()), x = at::randn({kRows});
    std::vector<float> sum(static_cast<size_t>(columns), 1.0F);
    AddRows(*WeightRowsOf(w), kRows, x.const_data_ptr<float>(), sum.data());
    EXPECT_LT(LargestOf(Wide(sum) - at::mv(w.to(at::kFloat).t(), x) - 1), 1e-4) << columns;
  }
}

TEST_P(VectorProducts, ARowIsTheSameWhereverItBegins) {
  const at::Tensor w = at::randn({kRows, 200}).to(GetParam()), x = at::randn({200});
  std::vector<float> whole(kRows), parts(kRows);
  const float* values = x.const_data_ptr<float>();
  MultiplyRows(*WeightRowsOf(w), kRows, values, whole.data());
  for (int64_t i = 0; i < kRows; ++i) {
    MultiplyRows(WeightRowsOf(w)->From(i), 1, values, parts.data() + i);
  }
  EXPECT_EQ(whole, parts);
}

TEST(WeightRowsOf, WhatHasNoKernelHasNoRows) {
  EXPECT_FALSE(WeightRowsOf(at::ones({2, 2}, at::kDouble)));
  EXPECT_FALSE(WeightRowsOf(at::ones({2, 3}).t()));
}

INSTANTIATE_TEST_SUITE_P(Types, VectorProducts,
                         ::testing::Values(at::kFloat, at::kBFloat16, at::kHalf),
                         [](const auto& info) { return c10::toString(info.param); });

}  // namespace
}  // namespace fedtune
