// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/grouped_experts.h"

#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/full_like.h"
#include "ATen/ops/silu.h"
#include "ATen/ops/stack.h"
#include "gtest/gtest.h"
#include "model/transformer/device_comparison.h"

namespace fedtune {
namespace {

constexpr int64_t kExperts = 4;
constexpr int64_t kHidden = 16;
constexpr int64_t kWidth = 24;

at::Tensor Numbers(at::IntArrayRef shape, double seed) {
  return TestNumbers(shape, seed, at::kCPU, at::kFloat);
}

// Everybody's second choice is expert 3, and expert 1 has no rows.
at::Tensor Choices(int64_t rows) {
  const at::Tensor row = at::arange(rows, at::TensorOptions(at::kLong));
  return at::stack({row % 2 * 2, at::full_like(row, 3)}, 1);
}

struct Mixed {
  at::Tensor y, by_x, by_weights;
};

// What `mix` makes of rows and weights, and the gradients of sum(y^2) / 2.
template <typename Mix>
Mixed Differentiate(int64_t rows, const Mix& mix) {
  const at::Tensor x = Numbers({rows, kHidden}, 1).requires_grad_();
  const at::Tensor weights = Numbers({rows, 2}, 2).requires_grad_();
  const at::Tensor y = mix(x, weights);
  y.backward(y.detach());
  return {y.detach(), x.grad(), weights.grad()};
}

class GroupedExpertsTest : public ::testing::Test {
 protected:
  // Row by row, as LibTorch differentiates it.
  at::Tensor MixRows(const at::Tensor& x, const at::Tensor& weights) const {
    const at::Tensor choices = Choices(x.size(0));
    std::vector<at::Tensor> rows;
    for (int64_t row = 0; row < x.size(0); ++row) {
      std::vector<at::Tensor> parts;
      for (int64_t i = 0; i < choices.size(1); ++i) {
        const auto expert = choices[row][i].item<int64_t>();
        const at::Tensor inner = experts_.gate_up[expert].mv(x[row]);
        const at::Tensor activation =
            at::silu(inner.narrow(0, 0, kWidth)) * inner.narrow(0, kWidth, kWidth);
        parts.push_back(experts_.down[expert].mv(activation) * weights[row][i]);
      }
      rows.push_back(at::stack(parts).sum(0));
    }
    return at::stack(rows);
  }

  void ExpectSame(int64_t rows, SlotPadding padding) const {
    const ExpertPlan plan = PlanExperts(Choices(rows), kExperts, padding);
    const Mixed grouped = Differentiate(rows, [&](const at::Tensor& x, const at::Tensor& weights) {
      return MixGroupedExperts(x, experts_, plan, weights);
    });
    const Mixed expected = Differentiate(
        rows, [&](const at::Tensor& x, const at::Tensor& weights) { return MixRows(x, weights); });
    EXPECT_TRUE(grouped.y.allclose(expected.y, 1e-4, 1e-4));
    EXPECT_TRUE(grouped.by_x.allclose(expected.by_x, 1e-4, 1e-4));
    EXPECT_TRUE(grouped.by_weights.allclose(expected.by_weights, 1e-4, 1e-4));
  }

  const GroupedWeights experts_ = {Numbers({kExperts, 2 * kWidth, kHidden}, 3) * 0.2,
                                   Numbers({kExperts, kHidden, kWidth}, 4) * 0.2};
};

TEST_F(GroupedExpertsTest, MixWhatEachExpertMakesOfItsRows) { ExpectSame(20, SlotPadding::kNone); }

TEST_F(GroupedExpertsTest, PaddingChangesNothing) { ExpectSame(150, SlotPadding::kRounded); }

TEST_F(GroupedExpertsTest, AreTakenIfTheirRowsAreOfWhole16BytesAndTheyAreNotTooMany) {
  EXPECT_TRUE(CanGroup(64, 1408, 2048));
  EXPECT_TRUE(CanGroup(1023, 8, 8));
  EXPECT_FALSE(CanGroup(1024, 8, 8));
  EXPECT_FALSE(CanGroup(64, 1404, 2048));
  EXPECT_FALSE(CanGroup(64, 1408, 2044));
}

}  // namespace
}  // namespace fedtune
