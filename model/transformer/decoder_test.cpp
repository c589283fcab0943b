// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/decoder.h"

#include <filesystem>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "ATen/ops/equal.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/max.h"
#include "gtest/gtest.h"
#include "model/transformer/load_model.h"
#include "model/transformer/matrix_products.h"
#include "tests/support/model_reference.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;
using testing::ModelReference;

using Change = std::function<void(at::Tensor& weight)>;

void ForEachWeight(MlpWeights& mlp, const Change& change) {
  for (Linear* linear : {&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj}) change(linear->weight);
}

// All matrices but routers.
void ForEachWeight(Model& model, const Change& change) {
  change(model.embedding);
  change(model.head.weight);
  for (DecoderLayer& layer : model.layers) {
    change(layer.attention.o_proj.weight);
    if (auto* mla = std::get_if<MlaWeights>(&layer.attention.heads)) {
      for (auto* linear : {&mla->q_proj, &mla->q_a_proj, &mla->q_b_proj}) {
        if (*linear) change((*linear)->weight);
      }
      for (Linear* linear : {&mla->kv_a_proj, &mla->kv_b_proj}) change(linear->weight);
    } else {
      auto& gqa = std::get<GqaWeights>(layer.attention.heads);
      for (Linear* linear : {&gqa.q_proj, &gqa.k_proj, &gqa.v_proj}) change(linear->weight);
    }
    if (auto* mlp = std::get_if<MlpWeights>(&layer.mlp)) {
      ForEachWeight(*mlp, change);
      continue;
    }
    auto& moe = std::get<MoeWeights>(layer.mlp);
    for (MlpWeights& expert : moe.experts) ForEachWeight(expert, change);
    if (moe.shared) ForEachWeight(*moe.shared, change);
  }
}

// Each golden model, with the adapter of its golden files.
class DecoderTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::filesystem::path folder = std::filesystem::path("tests/interop/golden") / GetParam();
    auto model = LoadModel(folder, at::kCPU);
    ASSERT_THAT(model, IsOk());
    model_ = *std::move(model);
    auto reference = testing::ReadModelReference(folder);
    ASSERT_THAT(reference, IsOk());
    reference_ = *std::move(reference);
    auto adapter = Adapter::Create(reference_.layout, model_.linear_layers, at::kCPU);
    ASSERT_THAT(adapter, IsOk());
    adapter_ = *std::move(adapter);
    ASSERT_THAT(adapter_.Load(reference_.adapter), IsOk());
  }

  // How far `logits` are from the expected ones behind token `index` of a record.
  double Difference(const at::Tensor& logits, const std::vector<float>& expected, size_t index) {
    const auto width = static_cast<size_t>(model_.config.vocabulary_size);
    const at::Tensor row = at::from_blob(const_cast<float*>(expected.data() + index * width),
                                         {static_cast<int64_t>(width)}, at::kFloat);
    return (logits - row).abs().max().item<double>();
  }

  Model model_;
  ModelReference reference_;
  Adapter adapter_;
};

TEST_P(DecoderTest, TokenByTokenLogitsAreThoseOfTheWholeText) {
  for (size_t i = 0; i < reference_.records.size(); ++i) {
    const std::vector<int32_t>& tokens = reference_.records[i].tokens;
    const Adapter none;
    Decoder base(model_, none, std::ssize(tokens));
    Decoder adapted(model_, adapter_, std::ssize(tokens));
    for (size_t j = 0; j < tokens.size(); ++j) {
      const std::span<const int32_t> token(&tokens[j], 1);
      EXPECT_LT(Difference(base.Append(token), reference_.base_logits[i], j), 2e-4) << j;
      EXPECT_LT(Difference(adapted.Append(token), reference_.adapted_logits[i], j), 2e-4) << j;
    }
  }
}

TEST_P(DecoderTest, HowATextIsCutDoesNotMatter) {
  const std::vector<int32_t>& tokens = reference_.records.back().tokens;
  const std::vector<float>& expected = reference_.adapted_logits.back();
  for (const size_t first : {size_t{1}, size_t{7}, tokens.size() - 1}) {
    Decoder decoder(model_, adapter_, std::ssize(tokens) + 3);
    decoder.Append(std::span(tokens).first(first));
    EXPECT_EQ(decoder.length(), static_cast<int64_t>(first));
    const at::Tensor logits = decoder.Append(std::span(tokens).subspan(first));
    EXPECT_LT(Difference(logits, expected, tokens.size() - 1), 2e-4) << first;
  }
}

TEST_P(DecoderTest, APromptOfManyPiecesIsAsIfItWereOne) {
  std::vector<int32_t> prompt;
  for (int32_t i = 0; i < 60; ++i) prompt.push_back(3 + i * 7 % 90);
  Decoder whole(model_, adapter_, 64), pieces(model_, adapter_, 64);
  const at::Tensor expected = whole.Append(prompt);
  at::Tensor logits;
  for (size_t i = 0; i < prompt.size(); i += 20) {
    logits = pieces.Append(std::span(prompt).subspan(i, 20));
  }
  EXPECT_LT((logits - expected).abs().max().item<double>(), 2e-4);
}

TEST_P(DecoderTest, AnyNumberOfThreadsGivesTheSameBits) {
  if (!HasMatrixKernels()) GTEST_SKIP() << "LibTorch's products divide sums among threads";
  const std::vector<int32_t>& tokens = reference_.records.back().tokens;
  const int threads = at::get_num_threads();
  std::vector<at::Tensor> logits;
  for (const int some : {1, 2, 3}) {
    at::set_num_threads(some);
    Decoder decoder(model_, adapter_, std::ssize(tokens));
    for (const int32_t token : tokens) logits.push_back(decoder.Append({&token, 1}));
  }
  at::set_num_threads(threads);
  for (size_t i = tokens.size(); i < logits.size(); ++i) {
    EXPECT_TRUE(at::equal(logits[i], logits[i % tokens.size()])) << i;
  }
}

TEST_P(DecoderTest, NarrowWeightsAreAsIfTheyHadBeenWidened) {
  const std::vector<int32_t>& tokens = reference_.records.back().tokens;
  Model wide = model_;
  ForEachWeight(model_, [](at::Tensor& weight) { weight = weight.to(at::kBFloat16); });
  ForEachWeight(wide, [](at::Tensor& weight) { weight = weight.to(at::kBFloat16).to(at::kFloat); });
  Decoder decoder(model_, adapter_, std::ssize(tokens)),
      expected(wide, adapter_, std::ssize(tokens));
  for (const int32_t token : tokens) {
    const at::Tensor logits = decoder.Append({&token, 1});
    EXPECT_LT((logits - expected.Append({&token, 1})).abs().max().item<double>(), 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DecoderTest,
                         ::testing::Values("llama_bias", "llama_gqa", "llama_mha", "model_a",
                                           "model_b", "moe_a", "moe_b", "v2_bias", "v32", "v3_a",
                                           "v3_b", "v3_fp8"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace fedtune
