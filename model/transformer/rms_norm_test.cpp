// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/rms_norm.h"

#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/equal.h"
#include "ATen/ops/sin.h"
#include "gtest/gtest.h"
#include "torch/csrc/autograd/autograd.h"

namespace fedtune {
namespace {

constexpr double kEpsilon = 1e-6;
constexpr int64_t kRows = 130, kSize = 37;

at::Tensor Waves(double seed) {
  return at::sin(at::arange(kRows * kSize, at::kFloat) * 0.7 + seed).view({kRows, kSize});
}

struct Inputs {
  at::Tensor x = Waves(1).requires_grad_();
  at::Tensor change = Waves(2).requires_grad_();
  at::Tensor weight = Waves(3)[0].contiguous();

  std::vector<at::Tensor> Gradients(const at::Tensor& y) const {
    return torch::autograd::grad({y}, {x, change}, {Waves(4)});
  }
};

void ExpectEqual(const std::vector<at::Tensor>& made, const std::vector<at::Tensor>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(at::equal(made[i], expected[i])) << i;
}

TEST(AddAndNormTest, IsTheSumAndItsNorm) {
  const Inputs in;
  const NormedSum made = AddAndNorm(in.x, in.change, in.weight, kEpsilon);
  EXPECT_TRUE(at::equal(made.sum, in.x + in.change));
  EXPECT_TRUE(at::equal(made.normed, RmsNorm(in.x + in.change, in.weight, kEpsilon)));
}

TEST(AddAndNormTest, AddsUpWhatComesBackThroughBoth) {
  const Inputs in;
  const NormedSum made = AddAndNorm(in.x, in.change, in.weight, kEpsilon);
  const at::Tensor sum = in.x + in.change;
  ExpectEqual(in.Gradients(made.normed + 3 * made.sum),
              in.Gradients(RmsNorm(sum, in.weight, kEpsilon) + 3 * sum));
}

TEST(AddAndNormTest, HasADerivativeWhereOneOfBothIsUsed) {
  const Inputs in;
  ExpectEqual(in.Gradients(AddAndNorm(in.x, in.change, in.weight, kEpsilon).normed),
              in.Gradients(RmsNorm(in.x + in.change, in.weight, kEpsilon)));
  ExpectEqual(in.Gradients(AddAndNorm(in.x, in.change, in.weight, kEpsilon).sum),
              in.Gradients(in.x + in.change));
}

TEST(AddAndNormTest, TakesColumnsOfWiderRows) {
  const Inputs in;
  const at::Tensor x = Waves(5).narrow(1, 3, 30), change = Waves(6).narrow(1, 0, 30);
  const at::Tensor weight = in.weight.narrow(0, 0, 30);
  const NormedSum made = AddAndNorm(x, change, weight, kEpsilon);
  EXPECT_TRUE(at::equal(made.sum, x + change));
  EXPECT_TRUE(at::equal(made.normed, RmsNorm((x + change).contiguous(), weight, kEpsilon)));
}

}  // namespace
}  // namespace fedtune
