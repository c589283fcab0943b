// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/sigmoid.h"

#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "ATen/ops/allclose.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/linspace.h"
#include "ATen/ops/sigmoid.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

class SigmoidTest : public ::testing::Test {
 protected:
  void TearDown() override { at::set_num_threads(threads_); }

  // As many values as a router has scores of many tokens.
  const at::Tensor x_ = at::linspace(-20, 20, 7822 * 8).view({7822, 8});
  const int threads_ = at::get_num_threads();
};

TEST_F(SigmoidTest, IsThatOfLibTorch) {
  EXPECT_TRUE(at::allclose(Sigmoid(x_), at::sigmoid(x_), /*rtol=*/1e-6, /*atol=*/0));
}

TEST_F(SigmoidTest, ItsDerivativeIsThatOfLibTorch) {
  const auto derivative = [&](auto function) {
    at::Tensor x = x_.detach().clone().requires_grad_();
    (function(x) * x_).sum().backward();
    return x.grad();
  };
  const at::Tensor expected = derivative([](const at::Tensor& x) { return at::sigmoid(x); });
  EXPECT_TRUE(at::allclose(derivative(Sigmoid), expected, /*rtol=*/1e-4, /*atol=*/1e-7));
}

TEST_F(SigmoidTest, FarOutIsZeroOrOne) {
  const at::Tensor y = Sigmoid(at::linspace(-1000, 1000, 3));
  EXPECT_EQ(y[0].item<float>(), 0);
  EXPECT_EQ(y[1].item<float>(), 0.5F);
  EXPECT_EQ(y[2].item<float>(), 1);
}

TEST_F(SigmoidTest, HasEqualBitsOnAnyNumberOfThreads) {
  for (int64_t rows = 1001; rows < 1017; ++rows) {
    const at::Tensor x = at::arange(rows * 160).mul(12.9898).sin().mul(8).view({rows, 160});
    at::set_num_threads(1);
    const at::Tensor alone = Sigmoid(x);
    for (const int threads : {2, 3, 5}) {
      at::set_num_threads(threads);
      EXPECT_TRUE(Sigmoid(x).equal(alone)) << rows << " rows, " << threads << " threads";
    }
  }
}

TEST_F(SigmoidTest, OfValuesThatLieApartIsThatOfThem) {
  EXPECT_TRUE(Sigmoid(x_.t()).equal(Sigmoid(x_).t()));
}

}  // namespace
}  // namespace fedtune
