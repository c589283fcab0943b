// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/products.h"

#include "ATen/TensorOperators.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/linspace.h"
#include "ATen/ops/mm.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

// Values in [-1, 1] without a pattern along either side.
at::Tensor Matrix(int64_t rows, int64_t columns) {
  return at::linspace(0, static_cast<double>(rows * columns), rows * columns, at::kDouble)
      .mul_(12.9898)
      .sin_()
      .to(at::kFloat)
      .view({rows, columns});
}

double RelativeDifference(const at::Tensor& a, const at::Tensor& b) {
  return at::linalg_vector_norm(a - b).item<double>() / at::linalg_vector_norm(b).item<double>();
}

// Small and large enough for either kernel.
TEST(ProductTest, IsTheProductForEverySizeAndEveryView) {
  for (const int64_t rows : {1, 3, 200, 257}) {
    for (const int64_t out : {1, 16, 96, 300}) {
      const at::Tensor x = Matrix(rows, 160), w = Matrix(out, 160);
      const at::Tensor expected = at::mm(x.to(at::kDouble), w.to(at::kDouble).t());
      const at::Tensor x_view = x.t().contiguous().t(), w_view = w.t().contiguous().t();
      EXPECT_LT(RelativeDifference(Product(x, w), expected), 1e-5);
      EXPECT_LT(RelativeDifference(Product(x, w_view), expected), 1e-5);
      EXPECT_LT(RelativeDifference(Product(x_view, w), expected), 1e-5);
      EXPECT_LT(RelativeDifference(Product(x_view, w_view), expected), 1e-5);
    }
  }
}

TEST(ProductTest, OfEqualMatricesHasEqualBits) {
  const at::Tensor x = Matrix(300, 160), w = Matrix(200, 160);
  EXPECT_TRUE(Product(x, w).equal(Product(x.clone(), w.clone())));
}

TEST(ProductTest, OfNoRowsHasNoRows) {
  EXPECT_EQ(Product(Matrix(3, 160).narrow(0, 0, 0), Matrix(20, 160)).sizes(),
            (at::IntArrayRef{0, 20}));
}

}  // namespace
}  // namespace fedtune
