// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/model.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/allclose.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/equal.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/transformer/load_model.h"
#include "model/transformer/loss.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr double kCloseTo = 2e-5;

std::vector<int32_t> Tokens(int64_t count, int32_t seed) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(3 + static_cast<int32_t>((i * 37 + seed * 11 + i * i * seed) % 90));
  }
  return tokens;
}

std::vector<int64_t> Range(int64_t begin, int64_t end) {
  std::vector<int64_t> range(static_cast<size_t>(end - begin));
  std::iota(range.begin(), range.end(), begin);
  return range;
}

// Every linear layer, with rank 2.
AdapterLayout FullLayout(const Model& model) {
  std::vector<AdapterModule> modules;
  for (const LinearLayer& layer : model.linear_layers) {
    modules.push_back({layer.name, layer.in_features, layer.out_features, 2, 4});
  }
  return *AdapterLayout::Create(std::move(modules));
}

// Factors that are all different from zero.
std::vector<float> SomeValues(const AdapterLayout& layout) {
  std::vector<float> values(static_cast<size_t>(layout.parameter_count()));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 0.1F * std::sin(static_cast<float>(i) * 1.7F + 0.3F);
  }
  return values;
}

// The two tiny models of the golden files: between them they take every branch.
class ModelTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto model = LoadModel("tests/interop/golden/" + GetParam(), at::kCPU);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
    layout_ = FullLayout(model_);
  }

  Adapter MakeAdapter(const std::vector<float>& values) const {
    Adapter adapter = std::move(*Adapter::Create(layout_, model_.linear_layers, at::kCPU));
    EXPECT_THAT(adapter.Load(values), IsOk());
    return adapter;
  }

  // The hidden states of all rows.
  at::Tensor Hidden(const Adapter& adapter, const PackedBatch& batch) const {
    at::NoGradGuard no_grad;
    return HiddenStates(model_, adapter, batch, Range(0, batch.rows()));
  }

  // The hidden states of one sequence on its own.
  at::Tensor HiddenAlone(const Adapter& adapter, const std::vector<int32_t>& tokens) const {
    PackedBatch batch;
    batch.Add(tokens);
    return Hidden(adapter, batch);
  }

  // The loss of a small batch, differentiable.
  at::Tensor Loss(const Adapter& adapter) const {
    PackedBatch batch;
    batch.Add(Tokens(7, 1));
    batch.Add(Tokens(4, 2));
    const std::vector<int64_t> rows = {3, 5, 9};
    const std::vector<int64_t> targets = {11, 50, 23};
    return TokenLossSum(HiddenStates(model_, adapter, batch, rows), model_.head,
                        adapter.Of(model_.head), targets);
  }

  Model model_;
  AdapterLayout layout_;
};

TEST_P(ModelTest, AnAdapterWhoseBIsZeroChangesNothing) {
  std::vector<float> values = SomeValues(layout_);
  for (const AdapterTensor& tensor : layout_.tensors()) {
    if (tensor.factor == Factor::kB) {
      std::fill_n(values.begin() + tensor.offset, tensor.size(), 0.0F);
    }
  }
  const Adapter fresh = MakeAdapter(values);
  const std::vector<int32_t> tokens = Tokens(9, 3);
  EXPECT_TRUE(at::equal(HiddenAlone(fresh, tokens), HiddenAlone(Adapter(), tokens)));
}

TEST_P(ModelTest, ATokenDoesNotSeeThoseBehindIt) {
  const Adapter adapter = MakeAdapter(SomeValues(layout_));
  std::vector<int32_t> tokens = Tokens(9, 3);
  const at::Tensor before = HiddenAlone(adapter, tokens).narrow(0, 0, 6);
  tokens[6] = 90;
  EXPECT_TRUE(at::allclose(HiddenAlone(adapter, tokens).narrow(0, 0, 6), before, 0, kCloseTo));
}

TEST_P(ModelTest, PackedSequencesAreAsIfEachWereAlone) {
  const Adapter adapter = MakeAdapter(SomeValues(layout_));
  PackedBatch batch;
  std::vector<at::Tensor> alone;
  for (const int64_t length : {5, 12, 1, 30}) {
    const std::vector<int32_t> tokens = Tokens(length, static_cast<int32_t>(length));
    batch.Add(tokens);
    alone.push_back(HiddenAlone(adapter, tokens));
  }
  EXPECT_TRUE(at::allclose(Hidden(adapter, batch), at::cat(alone), 0, kCloseTo));
}

TEST_P(ModelTest, ContinuationsAreAsIfTheirPromptWereRepeated) {
  const Adapter adapter = MakeAdapter(SomeValues(layout_));
  PackedBatch batch;
  std::vector<at::Tensor> alone;
  for (const int64_t prompt_length : {11, 6}) {
    const std::vector<int32_t> prompt = Tokens(prompt_length, 1);
    const int64_t prefix = batch.Add(prompt);
    alone.push_back(HiddenAlone(adapter, prompt));
    for (const int32_t length : {3, 1, 4}) {
      std::vector<int32_t> whole = prompt;
      const std::vector<int32_t> answer = Tokens(length, length);
      whole.insert(whole.end(), answer.begin(), answer.end());
      batch.AddContinuation(prefix, answer);
      alone.push_back(HiddenAlone(adapter, whole).narrow(0, prompt_length, length));
    }
  }
  EXPECT_TRUE(at::allclose(Hidden(adapter, batch), at::cat(alone), 0, kCloseTo));
}

TEST_P(ModelTest, OnlyWantedRowsAreReturned) {
  const Adapter adapter = MakeAdapter(SomeValues(layout_));
  PackedBatch batch;
  batch.Add(Tokens(6, 1));
  batch.Add(Tokens(8, 2));
  const at::Tensor all = Hidden(adapter, batch);
  at::NoGradGuard no_grad;
  const at::Tensor some = HiddenStates(model_, adapter, batch, std::vector<int64_t>{2, 13});
  EXPECT_TRUE(
      at::allclose(some, at::cat({all.narrow(0, 2, 1), all.narrow(0, 13, 1)}), 0, kCloseTo));
}

class SeveralMixturesTest : public ModelTest {};

TEST_P(SeveralMixturesTest, CountTheRowsOfEachRoutedExpert) {
  const int64_t layers = model_.routed_layer_count();
  const int64_t experts = model_.config.moe.routed_expert_count;
  ASSERT_GT(layers, 1);
  const auto counted = [&](const PackedBatch& batch, const std::vector<int64_t>& wanted) {
    std::vector<int64_t> rows(static_cast<size_t>(layers * experts));
    at::NoGradGuard no_grad;
    HiddenStates(model_, Adapter(), batch, wanted, rows);
    return rows;
  };
  const auto of_layer = [&](const std::vector<int64_t>& rows, int64_t layer) {
    const auto begin = rows.begin() + layer * experts;
    return std::reduce(begin, begin + experts);
  };
  PackedBatch both, first, second;
  for (PackedBatch* batch : {&both, &first}) batch->Add(Tokens(6, 1));
  for (PackedBatch* batch : {&both, &second}) batch->Add(Tokens(8, 2));
  const std::vector<int64_t> rows = counted(both, Range(0, 14));
  const int64_t choices = model_.config.moe.experts_per_token;
  for (int64_t layer = 0; layer < layers; ++layer) EXPECT_EQ(of_layer(rows, layer), 14 * choices);

  std::vector<int64_t> apart = counted(first, Range(0, 6));
  const std::vector<int64_t> others = counted(second, Range(0, 8));
  for (size_t i = 0; i < apart.size(); ++i) apart[i] += others[i];
  EXPECT_EQ(rows, apart);

  const std::vector<int64_t> some = counted(both, {2, 13});
  for (int64_t layer = 0; layer + 1 < layers; ++layer) {
    EXPECT_EQ(of_layer(some, layer), 14 * choices);
  }
  EXPECT_EQ(of_layer(some, layers - 1), 2 * choices);
}

// Along a direction in which every factor of every layer takes part, and uphill in
// each, so that rounding is small beside the slope.
TEST_P(ModelTest, GradientsAreThoseOfFiniteDifferences) {
  const std::vector<float> values = SomeValues(layout_);
  for (const FactorSet factors : {FactorSet::kA, FactorSet::kB, FactorSet::kBoth}) {
    Adapter adapter = MakeAdapter(values);
    adapter.Train(factors);
    Loss(adapter).backward();
    at::Tensor direction = adapter.trained_gradients().sign();
    for (int64_t i = 0; i < direction.numel(); ++i) {
      direction.mutable_data_ptr<float>()[i] *= std::abs(std::cos(static_cast<float>(i) * 2.3F));
    }
    const double slope = (adapter.trained_gradients() * direction).sum().item<double>();
    constexpr double kStep = 2e-5;  // Small enough that no row changes its experts.
    at::NoGradGuard no_grad;
    adapter.trained_values().add_(direction, kStep);
    const double above = Loss(adapter).item<double>();
    adapter.trained_values().sub_(direction, 2 * kStep);
    const double below = Loss(adapter).item<double>();
    EXPECT_NEAR((above - below) / (2 * kStep), slope, 0.02 * std::abs(slope) + 0.02);
  }
}

TEST_P(ModelTest, OnlyTheTrainedFactorGetsGradients) {
  Adapter adapter = MakeAdapter(SomeValues(layout_));
  adapter.Train(FactorSet::kB);
  EXPECT_EQ(adapter.trained_values().numel(), layout_.parameter_count(FactorSet::kB));
  Loss(adapter).backward();
  EXPECT_GT(adapter.trained_gradients().abs().sum().item<double>(), 0);
  adapter.Train(FactorSet::kA);
  EXPECT_EQ(adapter.trained_values().numel(), layout_.parameter_count(FactorSet::kA));
  EXPECT_EQ(adapter.trained_gradients().abs().sum().item<double>(), 0);
}

TEST_P(ModelTest, TokenLossesAreTheSummandsOfTheirSum) {
  const Adapter adapter = MakeAdapter(SomeValues(layout_));
  const at::Tensor hidden = HiddenAlone(adapter, Tokens(4, 1));
  const std::vector<float> losses =
      TokenLosses(hidden, model_.head, adapter.Of(model_.head), {{0, 0, 1, 3}, {5, 6, 7, 8}});
  ASSERT_EQ(losses.size(), 4u);
  const auto alone = [&](int64_t row, int64_t token) {
    return TokenLossSum(hidden.narrow(0, row, 1), model_.head, adapter.Of(model_.head),
                        std::vector<int64_t>{token})
        .item<float>();
  };
  EXPECT_NEAR(losses[0], alone(0, 5), 1e-5);
  EXPECT_NEAR(losses[1], alone(0, 6), 1e-5);
  EXPECT_NEAR(losses[2], alone(1, 7), 1e-5);
  EXPECT_NEAR(losses[3], alone(3, 8), 1e-5);
}

TEST_P(ModelTest, AnAdapterComesBackAsItWasLoaded) {
  const std::vector<float> values = SomeValues(layout_);
  EXPECT_EQ(MakeAdapter(values).Store(), values);
}

TEST_P(ModelTest, AnAdapterForAnUnknownLayerIsRefused) {
  const auto refusal = [&](const char* name) {
    const auto layout = AdapterLayout::Create({{name, 32, 32, 2, 4}});
    const auto adapter = Adapter::Create(*layout, model_.linear_layers, at::kCPU);
    EXPECT_THAT(adapter, HasCode(absl::StatusCode::kInvalidArgument));
    return std::string(adapter.status().message());
  };
  EXPECT_THAT(refusal("model.layers.9.self_attn.o_proj"), HasSubstr("is it made for another base"));
  EXPECT_THAT(refusal("model.layers.0.self_attn.indexer.wk"), HasSubstr("adapters of an indexer"));
  EXPECT_THAT(refusal("layers.0.self_attn.o_proj"), HasSubstr("call it model.layers.0.self_attn"));
}

TEST_P(ModelTest, AnAdapterForALayerOfAnotherSizeIsRefused) {
  const auto layout = AdapterLayout::Create({{"model.layers.0.self_attn.o_proj", 31, 32, 2, 4}});
  EXPECT_THAT(Adapter::Create(*layout, model_.linear_layers, at::kCPU),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_P(ModelTest, AnAdapterOfAnotherLengthIsRefused) {
  Adapter adapter = MakeAdapter(SomeValues(layout_));
  EXPECT_THAT(adapter.Load(std::vector<float>(7)), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_P(ModelTest, AnAdapterThatIsNotFiniteIsRefused) {
  Adapter adapter = MakeAdapter(SomeValues(layout_));
  std::vector<float> values = SomeValues(layout_);
  values.back() = NAN;
  EXPECT_THAT(adapter.Load(values), HasCode(absl::StatusCode::kInvalidArgument));
}

INSTANTIATE_TEST_SUITE_P(Models, ModelTest,
                         ::testing::Values("llama_bias", "llama_gqa", "llama_mha", "model_a",
                                           "model_b", "moe_a", "moe_b", "v2_bias", "v32", "v3_a",
                                           "v3_b"));
INSTANTIATE_TEST_SUITE_P(Models, SeveralMixturesTest,
                         ::testing::Values("model_a", "model_b", "moe_a", "moe_b", "v3_a", "v3_b"));

}  // namespace
}  // namespace fedtune
