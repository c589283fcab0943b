// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/dropout.h"

#include <cmath>
#include <vector>

#include "ATen/CPUGeneratorImpl.h"
#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "ATen/ops/dropout.h"
#include "ATen/ops/randn.h"
#include "ATen/ops/stack.h"
#include "ATen/ops/zeros.h"
#include "gtest/gtest.h"
#include "model/transformer/fake_device.h"
#include "model/transformer/linear.h"

namespace fedtune {
namespace {

using testing::FakeDevice;

at::Tensor Random(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed));
}

// A layer from 12 to 7 values with factors of rank 3.
class LoraDropoutTest : public ::testing::Test {
 protected:
  LoraDropoutTest() {
    linear_.weight = Random({7, 12}, 1);
    lora_ = {.a = Random({3, 12}, 2), .b = Random({7, 3}, 3), .scale = 2, .dropout = {}};
  }

  LoraFactors With(double rate, uint64_t key = 5) const {
    LoraFactors lora = lora_;
    lora.dropout = {.rate = rate, .key = key, .first_row = 0};
    return lora;
  }

  // What each of many passes adds to the layer without factors.
  template <typename Pass>
  at::Tensor Added(const Pass& pass) const {
    std::vector<at::Tensor> added;
    for (uint64_t key = 0; key < 4000; ++key) added.push_back(pass(key));
    return at::stack(added);
  }

  const at::Tensor x_ = Random({5, 12}, 4);
  Linear linear_;
  LoraFactors lora_;
};

TEST(DropoutMaskTest, DropsTheShareAndScalesTheRest) {
  const at::Tensor x = at::zeros({400, 250});
  for (const double rate : {0.05, 0.5, 0.9}) {
    const at::Tensor mask = DropoutMask(x, {.rate = rate, .key = 7, .first_row = 0});
    const double dropped = (mask == 0).to(at::kDouble).mean().item<double>();
    EXPECT_NEAR(dropped, rate, 0.006);  // Five standard deviations at most.
    EXPECT_TRUE(((mask == 0) | (mask == static_cast<float>(1 / (1 - rate)))).all().item<bool>());
  }
}

TEST(DropoutMaskTest, IsAnotherForEachKey) {
  const at::Tensor x = at::zeros({100, 100});
  const at::Tensor one = DropoutMask(x, {.rate = 0.5, .key = SubKey(1, 0), .first_row = 0});
  const at::Tensor other = DropoutMask(x, {.rate = 0.5, .key = SubKey(1, 1), .first_row = 0});
  EXPECT_NEAR((one == other).to(at::kDouble).mean().item<double>(), 0.5, 0.025);
}

// Masks are the same in every version: a round may be resumed by another one.
TEST(DropoutMaskTest, KeysAreTheNumbersOfSplitMix64) {
  EXPECT_EQ(SubKey(1234567, 0), 6457827717110365317u);
  EXPECT_EQ(SubKey(1234567, 2), 9817491932198370423u);
}

TEST(DropoutMaskTest, RowsDoNotRepeatOneAnother) {
  const at::Tensor mask =
      DropoutMask(at::zeros({2, 10'001}), {.rate = 0.5, .key = 3, .first_row = 0});
  EXPECT_NEAR((mask[0] == mask[1]).to(at::kDouble).mean().item<double>(), 0.5, 0.025);
}

TEST(DropoutMaskTest, IsTheSameOnAnyNumberOfThreadsAndInPieces) {
  const at::Tensor x = at::zeros({301, 501});
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor mask = DropoutMask(x, {.rate = 0.3, .key = 9, .first_row = 0});
  at::set_num_threads(3);
  EXPECT_TRUE(mask.equal(DropoutMask(x, {.rate = 0.3, .key = 9, .first_row = 0})));
  at::set_num_threads(threads);
  EXPECT_TRUE(
      mask.narrow(0, 107, 20)
          .equal(DropoutMask(x.narrow(0, 107, 20), {.rate = 0.3, .key = 9, .first_row = 107})));
}

// A device has its own way to the same random numbers.
TEST(DropoutMaskTest, IsTheSameOnADeviceThatIsNotTheCpu) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const uint64_t key : {uint64_t{5}, SubKey(1, 2), ~uint64_t{0}}) {
      for (const int64_t first_row : {0, 1, 1'000'001}) {
        const Dropout dropout = {.rate = 0.3, .key = key, .first_row = first_row};
        const at::Tensor x = at::zeros({31, 57}, type);
        const at::Tensor mask = DropoutMask(x.to(FakeDevice::device()), dropout);
        EXPECT_EQ(mask.device(), FakeDevice::device());
        EXPECT_EQ(mask.scalar_type(), type);
        EXPECT_TRUE(mask.to(at::kCPU).equal(DropoutMask(x, dropout))) << key << ' ' << first_row;
      }
    }
  }
}

// More values than random numbers are made of at once.
TEST(DropoutMaskTest, OfManyValuesIsTheSameOnADeviceThatIsNotTheCpu) {
  const at::Tensor x = at::zeros({9, 1'000'003}, at::kBFloat16);
  const Dropout dropout = {.rate = 0.3, .key = 5, .first_row = 0};
  const at::Tensor mask = DropoutMask(x.to(FakeDevice::device()), dropout);
  EXPECT_TRUE(mask.to(at::kCPU).equal(DropoutMask(x, dropout)));
}

TEST_F(LoraDropoutTest, ARateOfZeroIsNone) {
  EXPECT_TRUE(LinearForward(x_, linear_, With(0)).equal(LinearForward(x_, linear_, lora_)));
  EXPECT_TRUE(LinearForward(x_, linear_, With(0.5))
                  .ne(LinearForward(x_, linear_, lora_))
                  .any()
                  .item<bool>());
}

// peft drops with torch.nn.Dropout, which is at::dropout.
TEST_F(LoraDropoutTest, AddsWhatPeftsDropoutAddsOnAverage) {
  const double rate = 0.4;
  const at::Tensor base = LinearForward(x_, linear_, {});
  const at::Tensor plain = LinearForward(x_, linear_, lora_) - base;
  const at::Tensor ours =
      Added([&](uint64_t key) { return LinearForward(x_, linear_, With(rate, key)) - base; });
  const at::Tensor theirs = Added([&](uint64_t) {
    const at::Tensor dropped = at::dropout(x_, rate, /*train=*/true);
    return dropped.mm(lora_.a.t()).mm(lora_.b.t()) * lora_.scale;
  });
  // Six standard deviations of a mean of 4000.
  const at::Tensor bound = 6 * ours.std(0) / std::sqrt(4000.0);
  EXPECT_TRUE((ours.mean(0) - plain).abs().lt(bound).all().item<bool>());
  EXPECT_TRUE((ours.mean(0) - theirs.mean(0)).abs().lt(1.5 * bound).all().item<bool>());
  EXPECT_TRUE((ours.std(0) / theirs.std(0) - 1).abs().lt(0.1).all().item<bool>());
}

TEST_F(LoraDropoutTest, DifferentiatesThroughTheMask) {
  const LoraFactors lora = With(0.4);
  const at::Tensor mask = DropoutMask(x_, lora.dropout);
  const at::Tensor y_gradient = Random({5, 7}, 6);
  const auto gradients = [&](const auto& apply) {
    at::Tensor x = x_.detach().clone().requires_grad_();
    LoraFactors leaves = lora;
    leaves.a = lora.a.detach().clone().requires_grad_();
    leaves.b = lora.b.detach().clone().requires_grad_();
    apply(x, leaves).backward(y_gradient);
    return std::vector<at::Tensor>{x.grad(), leaves.a.grad(), leaves.b.grad()};
  };
  const auto ours = gradients([&](const at::Tensor& x, const LoraFactors& leaves) {
    return ApplyLinear(x, linear_, leaves);
  });
  const auto expected = gradients([&](const at::Tensor& x, const LoraFactors& leaves) {
    return x.mm(linear_.weight.t()) + (x * mask).mm(leaves.a.t()).mm(leaves.b.t()) * leaves.scale;
  });
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_TRUE(ours[i].allclose(expected[i], 1e-5, 1e-5)) << i;
  }
}

}  // namespace
}  // namespace fedtune
