// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/cpu_moe.h"

#include <functional>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/linalg_vector_norm.h"
#include "ATen/ops/linspace.h"
#include "ATen/ops/matmul.h"
#include "ATen/ops/silu.h"
#include "ATen/ops/zeros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/transformer/cpu_experts.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;

constexpr int64_t kRows = 1200, kHidden = 40, kWidth = 23, kRank = 4, kExperts = 4, kChoices = 2;

at::Tensor Matrix(int64_t rows, int64_t columns, double seed) {
  return at::linspace(seed, seed + static_cast<double>(rows * columns), rows * columns, at::kDouble)
      .mul_(12.9898)
      .sin_()
      .div_(4)
      .to(at::kFloat)
      .view({rows, columns});
}

// Of the experts that have rows, the second has few enough for one thread to take them together,
// and too many for one of three.
at::Tensor Choices() {
  at::Tensor choices = at::zeros({kRows, kChoices}, at::TensorOptions(at::kLong));
  for (int64_t row = 0; row < kRows; ++row) choices[row][1].fill_(row % 3 == 0 ? 1 : 2);
  return choices;
}

// Experts of which the last gets no rows; gate, up and down of all are adapted, but
// for the first one's up.
class CpuMoeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!HasMatrixKernels()) GTEST_SKIP() << "this CPU has no matrix kernels";
    std::vector<LinearLayer> layers;
    std::vector<AdapterModule> modules;
    for (int64_t i = 0; i < 3 * kExperts; ++i) {
      const bool is_down = i % 3 == 2;
      const int64_t in = is_down ? kWidth : kHidden, out = is_down ? kHidden : kWidth;
      linears_.push_back({Matrix(out, in, static_cast<double>(i)), i});
      LinearLayer layer;
      layer.name = std::to_string(i);
      layer.in_features = in;
      layer.out_features = out;
      layers.push_back(layer);
      AdapterModule module;
      module.name = layer.name;
      module.in_features = in;
      module.out_features = out;
      module.lora_rank = kRank;
      module.alpha = 2 * kRank;
      if (i != 1) modules.push_back(module);
    }
    auto layout = AdapterLayout::Create(std::move(modules));
    ASSERT_THAT(layout, IsOk());
    auto adapter = Adapter::Create(*layout, layers, at::kCPU);
    ASSERT_THAT(adapter, IsOk());
    const at::Tensor values = Matrix(1, layout->parameter_count(), 5);
    const float* data = values.const_data_ptr<float>();
    ASSERT_THAT(adapter->Load({data, static_cast<size_t>(values.numel())}), IsOk());
    adapter_ = *std::move(adapter);
    adapter_.Train(FactorSet::kBoth);
    for (size_t i = 0; i < kExperts; ++i) {
      experts_.push_back({linears_[3 * i], linears_[3 * i + 1], linears_[3 * i + 2]});
    }
  }
  void TearDown() override { at::set_num_threads(1); }

  at::Tensor Expert(const at::Tensor& x, size_t expert) const {
    const auto apply = [&](const at::Tensor& in, const Linear& linear) {
      const at::Tensor y = at::matmul(in, linear.weight.t());
      const LoraFactors& lora = adapter_.Of(linear);
      if (!lora.defined()) return y;
      return y + lora.scale * at::matmul(at::matmul(in, lora.a.t()), lora.b.t());
    };
    const MlpWeights& weights = experts_[expert];
    return apply(at::silu(apply(x, weights.gate_proj)) * apply(x, weights.up_proj),
                 weights.down_proj);
  }

  MoeWeights Mixture() const {
    MoeWeights moe;
    moe.experts = experts_;
    return moe;
  }
  // With the first expert as the shared one, too.
  MoeWeights MixtureWithShared() const {
    MoeWeights moe = Mixture();
    moe.shared = experts_[0];
    return moe;
  }

  // All experts, each with its share of the rows of Choices().
  at::Tensor Experts(const at::Tensor& x, const at::Tensor& weights) const {
    const at::Tensor choices = Choices();
    at::Tensor y = at::zeros({kRows, kHidden});
    for (int64_t i = 0; i < kExperts; ++i) {
      const at::Tensor share = (weights * (choices == i)).sum(1, /*keepdim=*/true);
      y = y + share * Expert(x, static_cast<size_t>(i));
    }
    return y;
  }

  // y's values, and the gradients of x, the weights and the adapter by some sum of y.
  std::vector<at::Tensor> Run(
      const std::function<at::Tensor(const at::Tensor& x, const at::Tensor& weights)>& compute) {
    adapter_.trained_gradients().zero_();
    at::Tensor x = Matrix(kRows, kHidden, 1).set_requires_grad(true);
    at::Tensor weights = Matrix(kRows, kChoices, 2).set_requires_grad(true);
    const at::Tensor y = compute(x, weights);
    (y * Matrix(kRows, kHidden, 3)).sum().backward();
    return {y.detach(), x.grad(), weights.grad().defined() ? weights.grad() : at::zeros({1}),
            adapter_.trained_gradients().clone()};
  }

  std::vector<Linear> linears_;
  std::vector<MlpWeights> experts_;
  Adapter adapter_;
};

void ExpectClose(const std::vector<at::Tensor>& results, const std::vector<at::Tensor>& expected,
                 double tolerance = 1e-5) {
  for (size_t i = 0; i < results.size(); ++i) {
    const double size = at::linalg_vector_norm(expected[i]).item<double>();
    EXPECT_LE(at::linalg_vector_norm(results[i] - expected[i]).item<double>(), tolerance * size)
        << i;
  }
}

TEST_F(CpuMoeTest, AnMlpIsWhatItsDefinitionSays) {
  ExpectClose(Run([&](const at::Tensor& x, const at::Tensor&) {
                return ApplyMlpOnCpu(x, experts_[0], adapter_);
              }),
              Run([&](const at::Tensor& x, const at::Tensor&) { return Expert(x, 0); }));
}

TEST_F(CpuMoeTest, ExpertsAreWhatTheirDefinitionSays) {
  const ExpertPlan plan = PlanExperts(Choices(), kExperts, SlotPadding::kNone);
  const auto expected =
      Run([&](const at::Tensor& x, const at::Tensor& weights) { return Experts(x, weights); });
  const MoeWeights moe = Mixture();
  ExpectClose(Run([&](const at::Tensor& x, const at::Tensor& weights) {
                return ApplyMoeOnCpu(x, moe, adapter_, plan, weights);
              }),
              expected);
}

TEST_F(CpuMoeTest, WhatSharedExpertsMakeIsAdded) {
  const ExpertPlan plan = PlanExperts(Choices(), kExperts, SlotPadding::kNone);
  const auto expected = Run([&](const at::Tensor& x, const at::Tensor& weights) {
    return Expert(x, 0) + Experts(x, weights);
  });
  const MoeWeights moe = MixtureWithShared();
  ExpectClose(Run([&](const at::Tensor& x, const at::Tensor& weights) {
                return ApplyMoeOnCpu(x, moe, adapter_, plan, weights);
              }),
              expected);
}

// What rounding every input to bf16 may cost at most: its last of 8 bits, in each of
// a few layers.
constexpr double kBf16Error = 0.02;

TEST_F(CpuMoeTest, WithWeightsInBf16InputsAreRoundedOrNotAsTheLayerSays) {
  for (Linear& linear : linears_) linear.weight = linear.weight.to(at::kBFloat16);
  const ExpertPlan plan = PlanExperts(Choices(), kExperts, SlotPadding::kNone);
  const auto take = [&](bool rounds) {
    for (size_t i = 0; i < kExperts; ++i) {
      for (Linear* linear : {&linears_[3 * i], &linears_[3 * i + 1], &linears_[3 * i + 2]}) {
        linear->rounds_inputs = rounds;
      }
      experts_[i] = {linears_[3 * i], linears_[3 * i + 1], linears_[3 * i + 2]};
    }
    const MoeWeights moe = MixtureWithShared();
    return Run([&](const at::Tensor& x, const at::Tensor& weights) {
      return ApplyMoeOnCpu(x, moe, adapter_, plan, weights);
    });
  };
  const std::vector<at::Tensor> exact = take(false), rounded = take(true);
  for (Linear& linear : linears_) linear.weight = linear.weight.to(at::kFloat);
  for (size_t i = 0; i < kExperts; ++i) {
    experts_[i] = {linears_[3 * i], linears_[3 * i + 1], linears_[3 * i + 2]};
  }
  const auto expected = Run([&](const at::Tensor& x, const at::Tensor& weights) {
    return Expert(x, 0) + Experts(x, weights);
  });
  ExpectClose(exact, expected);
  ExpectClose(rounded, expected, kBf16Error);
  EXPECT_EQ(rounded[0].equal(exact[0]), !HasBf16Kernels());
}

TEST_F(CpuMoeTest, ResultsHaveEqualBitsOnAnyNumberOfThreads) {
  const ExpertPlan plan = PlanExperts(Choices(), kExperts, SlotPadding::kNone);
  const auto run = [&](int threads) {
    at::set_num_threads(threads);
    const MoeWeights moe = MixtureWithShared();
    return Run([&](const at::Tensor& x, const at::Tensor& weights) {
      return ApplyMoeOnCpu(x, moe, adapter_, plan, weights) +
             ApplyMlpOnCpu(x, experts_[1], adapter_);
    });
  };
  const std::vector<at::Tensor> alone = run(1), many = run(3);
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_TRUE(many[i].equal(alone[i])) << i;
}

}  // namespace
}  // namespace fedtune
