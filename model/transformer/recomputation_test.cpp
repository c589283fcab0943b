// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/recomputation.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "ATen/ops/equal.h"
#include "ATen/ops/ones.h"
#include "gtest/gtest.h"
#include "model/transformer/load_model.h"
#include "model/transformer/loss.h"
#include "model/transformer/model.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;

TEST(RecomputedTest, CallsTheFunctionOnceMoreWhenTheDerivativeIsAskedFor) {
  const at::Tensor x = at::ones({2}).requires_grad_(true);
  const at::Tensor factor = at::ones({2}).mul_(3).requires_grad_(true);
  int calls = 0;
  const auto function = [&](const at::Tensor& from) {
    ++calls;
    return from * from * factor;
  };
  const at::Tensor y = Recomputed(function(x), x, {factor, at::Tensor()}, function);
  EXPECT_EQ(calls, 1);
  y.sum().backward();
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(at::equal(x.grad(), at::ones({2}).mul_(6)));
  EXPECT_TRUE(at::equal(factor.grad(), at::ones({2})));
}

TEST(RecomputedTest, KeepsNothingWhereNoDerivativeWillBeAskedFor) {
  const at::Tensor x = at::ones({2});
  const auto function = [](const at::Tensor& from) { return from * 2; };
  EXPECT_FALSE(Recomputed(function(x), x, {}, function).requires_grad());
}

// A tiny model of the golden files, and how it is loaded.
struct Case {
  std::string model;
  ModelForm form;
  double dropout;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.model << (c.form == ModelForm::kForGpu ? ", bf16" : "") << ", dropout " << c.dropout;
}

// What one step of two passes comes to.
struct Step {
  at::Tensor gradients;
  std::vector<double> losses;
  std::vector<int64_t> routed;
};

class RecomputedLayersTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    auto model = LoadModel("tests/interop/golden/" + GetParam().model, at::kCPU, GetParam().form);
    ASSERT_THAT(model, IsOk());
    model_ = *std::move(model);
    std::vector<AdapterModule> modules;
    for (const LinearLayer& layer : model_.linear_layers) {
      modules.push_back({layer.name, layer.in_features, layer.out_features, 2, 4});
    }
    layout_ = *AdapterLayout::Create(std::move(modules));
  }

  // Every linear layer is adapted, routed experts and their router, too.
  Adapter SomeAdapter() const {
    Adapter adapter = std::move(*Adapter::Create(layout_, model_.linear_layers, at::kCPU));
    std::vector<float> values(static_cast<size_t>(layout_.parameter_count()));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = 0.1F * std::sin(static_cast<float>(i) * 1.7F + 0.3F);
    }
    EXPECT_THAT(adapter.Load(values), IsOk());
    return adapter;
  }

  Step Take(FactorSet factors, int64_t recomputed_layers) const {
    Adapter adapter = SomeAdapter();
    adapter.Train(factors);
    Step step;
    step.routed.resize(
        static_cast<size_t>(model_.routed_layer_count() * model_.config.moe.routed_expert_count));
    for (const uint64_t pass : {1, 2}) {
      adapter.DropInputs(GetParam().dropout, pass);
      PackedBatch batch;
      for (const int64_t length : {9, 5, 21}) AddSequence(length, pass, batch);
      const std::vector<int64_t> rows = {3, 8, 10, 30}, targets = {11, 50, 23, 4};
      const at::Tensor loss =
          TokenLossSum(HiddenStates(model_, adapter, batch, rows, step.routed, recomputed_layers),
                       model_.head, adapter.Of(model_.head), targets);
      loss.backward();
      step.losses.push_back(loss.item<double>());
    }
    step.gradients = adapter.trained_gradients();
    return step;
  }

  static void AddSequence(int64_t length, uint64_t pass, PackedBatch& batch) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < length; ++i) {
      tokens.push_back(3 + static_cast<int32_t>((i * 37 + length * 11 + 5 * i * i) % 80 +
                                                static_cast<int64_t>(pass)));
    }
    batch.Add(tokens);
  }

  Model model_;
  AdapterLayout layout_;
};

TEST_P(RecomputedLayersTest, ChangeNoBitOfAnything) {
  for (const FactorSet factors : {FactorSet::kA, FactorSet::kB, FactorSet::kBoth}) {
    const Step kept = Take(factors, 0);
    EXPECT_GT(kept.gradients.abs().sum().item<double>(), 0);
    for (const int64_t layers : {1, 2, 3, 100}) {
      const Step recomputed = Take(factors, layers);
      EXPECT_TRUE(at::equal(recomputed.gradients, kept.gradients)) << layers << " layers";
      EXPECT_EQ(recomputed.losses, kept.losses);
      EXPECT_EQ(recomputed.routed, kept.routed) << "tokens are counted once";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, RecomputedLayersTest,
                         ::testing::Values(Case{"llama_gqa", ModelForm::kForCpuTraining, 0},
                                           Case{"model_a", ModelForm::kForCpuTraining, 0},
                                           Case{"model_a", ModelForm::kForCpuTraining, 0.3},
                                           Case{"model_b", ModelForm::kForCpuTraining, 0},
                                           Case{"moe_a", ModelForm::kForCpuTraining, 0.3},
                                           Case{"v3_a", ModelForm::kForCpuTraining, 0},
                                           Case{"v3_b", ModelForm::kForCpuTraining, 0},
                                           Case{"v3_b", ModelForm::kForCpuTraining, 0.3},
                                           Case{"v3_b", ModelForm::kForGpu, 0.3}));

}  // namespace
}  // namespace fedtune
