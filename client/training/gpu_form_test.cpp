// SPDX-License-Identifier: Apache-2.0
//
// What a GPU is asked to do, without a GPU: models in bf16 with grouped experts
// and adapters in fp32, on the CPU and on a device that is none.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/TensorOperators.h"
#include "client/training/evaluation.h"
#include "client/training/local_training.h"
#include "client/training/training_device_tests.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "model/transformer/decoder.h"
#include "model/transformer/fake_device.h"
#include "model/transformer/load_model.h"
#include "model/transformer/sequence_logits.h"
#include "model/transformer/transformer_device_tests.h"
#include "tests/support/broken_device.h"
#include "tests/support/model_reference.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::ExpectEachOperationToMatter;
using testing::FakeDevice;
using testing::IsOk;
using testing::ModelReference;
using testing::ReadModelReference;

const std::filesystem::path kGolden = "tests/interop/golden";

constexpr int64_t kSteps = 12;

std::set<std::string> OperationsOfTheSelfTest() {
  FakeDevice::TakeOperations();
  EXPECT_THAT(RunDeviceTests(TransformerDeviceTests(), FakeDevice::device()), IsOk());
  EXPECT_THAT(RunDeviceTests(TrainingDeviceTests(), FakeDevice::device()), IsOk());
  return FakeDevice::TakeOperations();
}

// The tiny models of the golden files, and what peft made of them in fp32.
class GpuFormTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    at::set_num_threads(1);
    auto reference = ReadModelReference(kGolden / GetParam());
    ASSERT_THAT(reference, IsOk());
    reference_ = *std::move(reference);
  }

  Model LoadOnto(at::Device device) const {
    auto model = LoadModel(kGolden / GetParam(), device, ModelForm::kForGpu);
    EXPECT_THAT(model, IsOk());
    return *std::move(model);
  }

  TrainingOutcome Train(const Model& model, const TrainingObserver& observer = {}) const {
    TrainingRequest request;
    request.layout = &reference_.layout;
    request.adapter = reference_.adapter;
    request.steps = kSteps;
    request.batch = [this](int64_t) {
      Batch batch;
      for (const TokenizedRecord& record : reference_.records) batch.push_back(&record);
      return batch;
    };
    request.learning_rate = [this](int64_t) { return reference_.learning_rate; };
    request.max_gradient_norm = 0;
    request.dropout = dropout_;
    request.recomputed_layers = recomputed_layers_;
    request.resumed = half_way_ ? &*half_way_ : nullptr;
    request.take_state = take_state_;
    auto outcome = TrainLocally(model, request, observer);
    EXPECT_THAT(outcome, IsOk());
    return *std::move(outcome);
  }

  // Among answers of several tokens, so that they continue a common prompt.
  Evaluation Evaluate(const Model& model) const {
    std::vector<TokenizedRecord> records = {{{0, 9, 17, 33, 40, 41, 1}, {0, 0, 0, 0, 1, 1, 1}}};
    const auto evaluation = EvaluateAdapter(
        model, {&reference_.layout, reference_.adapter, records, {{40, 41, 1}, {55, 61, 8, 1}}},
        {});
    EXPECT_THAT(evaluation, IsOk());
    return *evaluation;
  }

  // The logits behind a prompt and behind each of two more tokens.
  std::vector<at::Tensor> Read(const Model& model) const {
    auto adapter = Adapter::Create(reference_.layout, model.linear_layers, model.device());
    EXPECT_THAT(adapter, IsOk());
    EXPECT_THAT(adapter->Load(reference_.adapter), IsOk());
    Decoder decoder(model, *adapter, 8);
    return {decoder.Append(std::vector<int32_t>{0, 9, 17, 33}),
            decoder.Append(std::vector<int32_t>{40}), decoder.Append(std::vector<int32_t>{41})};
  }

  ModelReference reference_;
  double dropout_ = 0;
  int64_t recomputed_layers_ = 0;
  std::optional<TrainingState> half_way_;  // What a training goes on from.
  StateTaker take_state_;
};

TEST_P(GpuFormTest, WeightsAreInBf16AndRoutersAndNormsInFp32) {
  const Model model = LoadOnto(at::kCPU);
  EXPECT_EQ(model.compute_type, at::kBFloat16);
  EXPECT_EQ(model.embedding.scalar_type(), at::kBFloat16);
  EXPECT_EQ(model.norm.scalar_type(), at::kFloat);
  int64_t mixtures = 0;
  for (const DecoderLayer& layer : model.layers) {
    EXPECT_EQ(layer.attention.o_proj.weight.scalar_type(), at::kBFloat16);
    const auto* moe = std::get_if<MoeWeights>(&layer.mlp);
    if (moe == nullptr) continue;
    ++mixtures;
    EXPECT_EQ(moe->gate.weight.scalar_type(), at::kFloat);
    EXPECT_TRUE(moe->gate_up.defined());
    EXPECT_EQ(moe->gate_up.scalar_type(), at::kBFloat16);
  }
  EXPECT_EQ(mixtures, model.routed_layer_count());
}

// Rounding to bf16 costs no more than it costs transformers.
TEST_P(GpuFormTest, LogitsAreAsCloseToThoseInFp32AsThoseOfTransformers) {
  if (!reference_.bf16_deviation) GTEST_SKIP() << "transformers does not have this architecture";
  const Model model = LoadOnto(at::kCPU);
  std::vector<std::vector<int32_t>> sequences;
  for (const TokenizedRecord& record : reference_.records) sequences.push_back(record.tokens);
  const std::vector<std::vector<float>> ours = SequenceLogits(model, Adapter(), sequences);
  double squares = 0, count = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    for (size_t j = 0; j < ours[i].size(); ++j) {
      squares += std::pow(static_cast<double>(ours[i][j]) - reference_.base_logits[i][j], 2);
      ++count;
    }
  }
  const double deviation = std::sqrt(squares / count);
  RecordProperty("deviation", fmt::format("{:.3g}", deviation));
  EXPECT_LT(deviation, 1.1 * *reference_.bf16_deviation);
}

TEST_P(GpuFormTest, TrainingOnTheCpuFollowsPeftsCurveInFp32) {
  std::vector<double> curve;
  Train(LoadOnto(at::kCPU), [&](const TrainingProgress& progress) {
    curve.push_back(progress.loss);
    return true;
  });
  ASSERT_EQ(curve.size(), kSteps);
  for (size_t i = 0; i < curve.size(); ++i) {
    EXPECT_NEAR(curve[i] / reference_.curve[i], 1, 0.1) << "step " << i;
  }
  EXPECT_NE(curve.front(), reference_.curve.front()) << "this was computed in fp32";
  const double fall = reference_.curve.front() - reference_.curve[kSteps - 1];
  EXPECT_GT(curve.front() - curve.back(), 0.9 * fall);
}

TEST_P(GpuFormTest, AnotherDeviceThanTheCpuDoesTheSame) {
  const Model here = LoadOnto(at::kCPU);
  const Model there = LoadOnto(FakeDevice::device());
  EXPECT_EQ(there.device(), FakeDevice::device());
  EXPECT_NEAR(Train(there).loss / Train(here).loss, 1, 0.02);
  EXPECT_NEAR(Evaluate(there).loss / Evaluate(here).loss, 1, 0.02);
}

TEST_P(GpuFormTest, AnotherDeviceThanTheCpuGoesOnFromWhatItStored) {
  const Model there = LoadOnto(FakeDevice::device());
  std::optional<TrainingState> stored;
  take_state_ = [&](int64_t step, const auto& state) {
    if (step == kSteps / 2) stored = state();
  };
  const TrainingOutcome whole = Train(there);
  half_way_ = std::move(stored);
  EXPECT_EQ(Train(there).adapter, whole.adapter);
}

TEST_P(GpuFormTest, AnotherDeviceThanTheCpuReadsATextTheSame) {
  const std::vector<at::Tensor> here = Read(LoadOnto(at::kCPU));
  const std::vector<at::Tensor> there = Read(LoadOnto(FakeDevice::device()));
  for (size_t i = 0; i < here.size(); ++i) {
    EXPECT_LT((there[i] - here[i]).norm().item<float>(), 0.02 * here[i].norm().item<float>()) << i;
  }
}

TEST_P(GpuFormTest, TheSelfTestHasEveryOperationThatIsUsed) {
  const std::set<std::string> tested = OperationsOfTheSelfTest();
  const Model model = LoadOnto(FakeDevice::device());
  FakeDevice::TakeOperations();
  dropout_ = 0.1;
  recomputed_layers_ = 1;
  Train(model);
  Evaluate(model);
  Read(model);
  const std::set<std::string> used = FakeDevice::TakeOperations();
  EXPECT_GT(used.size(), 40);
  std::vector<std::string> missing;
  std::set_difference(used.begin(), used.end(), tested.begin(), tested.end(),
                      std::back_inserter(missing));
  EXPECT_THAT(missing, ::testing::IsEmpty());
}

#ifdef FEDTUNE_UNDER_SANITIZER
const auto kModels = ::testing::Values("llama_bias", "moe_a", "v2_bias", "v3_b");
#else
const auto kModels = ::testing::Values("llama_bias", "llama_gqa", "model_a", "model_b", "moe_a",
                                       "v2_bias", "v3_a", "v3_b");
#endif

INSTANTIATE_TEST_SUITE_P(Models, GpuFormTest, kModels, [](const auto& info) { return info.param; });

TEST(TrainingDeviceTestsTest, ADeviceThatComputesOneOperationWronglyIsRefused) {
  EXPECT_THAT(ExpectEachOperationToMatter(TrainingDeviceTests()),
              ::testing::Not(::testing::IsEmpty()));
}

}  // namespace
}  // namespace fedtune
