// SPDX-License-Identifier: Apache-2.0

#include "client/training/torch_trainer.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/checkpoint/base_model_description.h"
#include "model/transformer/matrix_products.h"
#include "tests/support/model_reference.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::ModelReference;
using testing::ReadModelReference;

const std::filesystem::path kGolden = "tests/interop/golden";

std::unique_ptr<Trainer> Open(const std::filesystem::path& model, int threads = 1) {
  auto trainer = OpenTorchTrainer({model, ComputeDevice::Cpu(), threads});
  EXPECT_TRUE(trainer.ok()) << trainer.status();
  return trainer.ok() ? *std::move(trainer) : nullptr;
}

// Every step on all records of a reference.
TrainingRequest RequestFor(const ModelReference& reference, int64_t steps) {
  TrainingRequest request;
  request.layout = &reference.layout;
  request.adapter = reference.adapter;
  request.steps = steps;
  request.batch = [&reference](int64_t) {
    Batch batch;
    for (const TokenizedRecord& record : reference.records) batch.push_back(&record);
    return batch;
  };
  request.learning_rate = [&reference](int64_t) { return reference.learning_rate; };
  request.max_gradient_norm = 0;
  return request;
}

class TorchTrainerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    trainer_ = Open(kGolden / "model_b");
    ASSERT_NE(trainer_, nullptr);
    auto reference = ReadModelReference(kGolden / "model_b");
    ASSERT_TRUE(reference.ok()) << reference.status();
    reference_ = *std::move(reference);
  }

  std::vector<float> Trained(const TrainingRequest& request) {
    const auto outcome = trainer_->Train(request);
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    return outcome.ok() ? outcome->adapter : std::vector<float>();
  }

  EvaluationRequest EvaluationOf(const std::vector<TokenizedRecord>& records) const {
    return {&reference_.layout, reference_.adapter, records, {}};
  }

  std::unique_ptr<Trainer> trainer_;
  ModelReference reference_;
};

// The part of a reference's adapter that is not on routed experts: peft itself
// trained it. (It ties the experts of a layer together.)
ModelReference WithoutRoutedExperts(const ModelReference& whole) {
  ModelReference rest = whole;
  rest.adapter.clear();
  rest.curve = whole.curve_without_routed;
  std::vector<AdapterModule> modules;
  for (const AdapterModule& module : whole.layout.modules()) {
    if (module.name.find(".experts.") == std::string::npos) modules.push_back(module);
  }
  for (const AdapterTensor& tensor : whole.layout.tensors()) {
    const auto& module = whole.layout.modules()[static_cast<size_t>(tensor.module_index)];
    if (module.name.find(".experts.") != std::string::npos) continue;
    const auto begin = whole.adapter.begin() + tensor.offset;
    rest.adapter.insert(rest.adapter.end(), begin, begin + tensor.size());
  }
  rest.layout = *AdapterLayout::Create(std::move(modules));
  return rest;
}

struct Case {
  std::string name;
  std::filesystem::path model;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class TrainingCurveTest : public ::testing::TestWithParam<Case> {};

// The largest difference between our losses and the reference's.
double LargestDifference(Trainer& trainer, const ModelReference& reference) {
  double largest = 0;
  const auto steps = static_cast<int64_t>(reference.curve.size());
  const auto outcome =
      trainer.Train(RequestFor(reference, steps), [&](const TrainingProgress& progress) {
        const double expected = reference.curve[static_cast<size_t>(progress.step) - 1];
        largest = std::max(largest, std::abs(progress.loss - expected));
        return true;
      });
  EXPECT_TRUE(outcome.ok()) << outcome.status();
  return largest;
}

TEST_P(TrainingCurveTest, IsThatOfTheReference) {
  const auto reference = ReadModelReference(kGolden / GetParam().name);
  ASSERT_TRUE(reference.ok()) << reference.status();
  ASSERT_EQ(reference->curve.size(), 50U);
  const double difference = LargestDifference(*Open(GetParam().model), *reference);
  RecordProperty("largest_difference", fmt::format("{:.3g}", difference));
  EXPECT_LT(difference, 1e-3);
}

TEST_P(TrainingCurveTest, WithoutRoutedExpertsIsThatOfPeft) {
  const auto whole = ReadModelReference(kGolden / GetParam().name);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const ModelReference reference = WithoutRoutedExperts(*whole);
  ASSERT_EQ(reference.curve.size(), 50U);
  const double difference = LargestDifference(*Open(GetParam().model), reference);
  RecordProperty("largest_difference", fmt::format("{:.3g}", difference));
  EXPECT_LT(difference, 1e-3);
}

std::vector<Case> Cases() {
  std::vector<Case> cases = {{"icd_moe", "examples/base_model/icd-moe"}};
  for (const char* name : {"llama_bias", "llama_gqa", "llama_mha", "model_a", "model_b", "moe_a",
                           "moe_b", "v2_bias", "v32", "v3_a", "v3_b"}) {
    cases.push_back({name, kGolden / name});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Models, TrainingCurveTest, ::testing::ValuesIn(Cases()),
                         [](const auto& info) { return info.param.name; });

TEST_F(TorchTrainerTest, EqualRequestsGiveEqualBits) {
  const TrainingRequest request = RequestFor(reference_, 3);
  EXPECT_EQ(Trained(request), Trained(request));
}

TEST_F(TorchTrainerTest, TheNumberOfThreadsDoesNotChangeTheLossMuch) {
  const TrainingRequest request = RequestFor(reference_, 3);
  const auto with_one = trainer_->Train(request);
  const auto with_two = Open(kGolden / "model_b", 2)->Train(request);
  ASSERT_TRUE(with_one.ok() && with_two.ok());
  EXPECT_NEAR(with_one->loss, with_two->loss, 1e-5);
}

TEST_F(TorchTrainerTest, WithMatrixKernelsAnyNumberOfThreadsGivesEqualBits) {
  if (!HasMatrixKernels()) GTEST_SKIP() << "this CPU has no matrix kernels";
  TrainingRequest request = RequestFor(reference_, 3);
  request.max_gradient_norm = 0.01;
  const std::vector<float> alone = Trained(request);
  for (const int threads : {2, 5}) {
    const auto outcome = Open(kGolden / "model_b", threads)->Train(request);
    ASSERT_TRUE(outcome.ok());
    EXPECT_EQ(outcome->adapter, alone) << threads;
  }
}

TEST_F(TorchTrainerTest, AFactorThatIsNotTrainedKeepsItsBits) {
  for (const FactorSet factors : {FactorSet::kA, FactorSet::kB}) {
    TrainingRequest request = RequestFor(reference_, 2);
    request.factors = factors;
    request.weight_decay = 0.1;
    const std::vector<float> trained = Trained(request);
    for (const AdapterTensor& tensor : reference_.layout.tensors()) {
      const auto begin = static_cast<size_t>(tensor.offset);
      const auto size = static_cast<size_t>(tensor.size());
      const bool same = std::equal(trained.begin() + begin, trained.begin() + begin + size,
                                   reference_.adapter.begin() + begin);
      EXPECT_EQ(same, !Contains(factors, tensor.factor));
    }
  }
}

TEST_F(TorchTrainerTest, GradientDescentMovesAlongTheGradient) {
  TrainingRequest request = RequestFor(reference_, 1);
  request.optimizer = LocalOptimizer::kSgd;
  request.learning_rate = [](int64_t) { return 0.5; };
  const std::vector<float> trained = Trained(request);
  for (size_t i = 0; i < trained.size(); i += 97) {
    EXPECT_NEAR(trained[i], reference_.adapter[i] - 0.5F * reference_.gradient[i], 1e-4);
  }
}

// Large batches go other ways: padded experts, other kernels.
TEST_F(TorchTrainerTest, RecordsThatComeOftenHaveTheGradientOfComingOnce) {
  TrainingRequest request = RequestFor(reference_, 1);
  request.optimizer = LocalOptimizer::kSgd;
  request.learning_rate = [](int64_t) { return 0.5; };
  const std::vector<float> once = Trained(request);
  request.batch = [this](int64_t) {
    Batch batch;
    for (int i = 0; i < 24; ++i) {
      for (const TokenizedRecord& record : reference_.records) batch.push_back(&record);
    }
    return batch;
  };
  const std::vector<float> often = Trained(request);
  for (size_t i = 0; i < once.size(); ++i) ASSERT_NEAR(once[i], often[i], 1e-5);
}

TEST_F(TorchTrainerTest, GradientsAreClippedToTheirLargestNorm) {
  TrainingRequest request = RequestFor(reference_, 1);
  request.optimizer = LocalOptimizer::kSgd;
  request.max_gradient_norm = 0.01;
  request.learning_rate = [](int64_t) { return 1.0; };
  const std::vector<float> trained = Trained(request);
  double square = 0;
  for (size_t i = 0; i < trained.size(); ++i) {
    square += std::pow(static_cast<double>(trained[i]) - reference_.adapter[i], 2);
  }
  EXPECT_NEAR(std::sqrt(square), 0.01, 1e-4);
}

struct ResumedCase {
  std::string name;
  FactorSet factors;
  LocalOptimizer optimizer;
};

void PrintTo(const ResumedCase& c, std::ostream* out) { *out << c.name; }

class ResumedTrainingTest : public TorchTrainerTest,
                            public ::testing::WithParamInterface<ResumedCase> {
 protected:
  // Each step has other records and another rate.
  TrainingRequest Request() const {
    TrainingRequest request = RequestFor(reference_, kSteps);
    request.factors = GetParam().factors;
    request.optimizer = GetParam().optimizer;
    request.weight_decay = 0.1;
    request.max_gradient_norm = 0.5;
    request.batch = [this](int64_t step) {
      return Batch{&reference_.records[static_cast<size_t>(step) % reference_.records.size()]};
    };
    request.learning_rate = [](int64_t step) { return 1e-2 / static_cast<double>(step + 1); };
    return request;
  }

  static constexpr int64_t kSteps = 6;
};

TEST_P(ResumedTrainingTest, EndsWithTheBitsOfOneThatWasNotInterrupted) {
  TrainingRequest request = Request();
  std::vector<TrainingState> states;
  request.take_state = [&](int64_t step, const auto& state) {
    states.push_back(state());
    EXPECT_EQ(states.back().step, step);
  };
  const auto whole = trainer_->Train(request);
  ASSERT_TRUE(whole.ok()) << whole.status();
  ASSERT_EQ(states.size(), static_cast<size_t>(kSteps));
  for (const TrainingState& state : states) {
    TrainingRequest rest = Request();
    rest.resumed = &state;
    std::vector<int64_t> steps;
    // Another process would open the model again; it is what it was.
    const auto resumed = Open(kGolden / "model_b")->Train(rest, [&](const auto& progress) {
      steps.push_back(progress.step);
      return true;
    });
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_EQ(std::ssize(steps), kSteps - state.step) << "nothing is done twice";
    EXPECT_EQ(resumed->adapter, whole->adapter) << state.step;
    EXPECT_EQ(resumed->loss, whole->loss);
    EXPECT_EQ(resumed->token_count, whole->token_count);
    EXPECT_EQ(resumed->answer_token_count, whole->answer_token_count);
    EXPECT_EQ(resumed->routed_tokens, whole->routed_tokens);
    EXPECT_GE(resumed->seconds, state.seconds);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Trainings, ResumedTrainingTest,
    ::testing::Values(ResumedCase{"both_adamw", FactorSet::kBoth, LocalOptimizer::kAdamW},
                      ResumedCase{"a_adamw", FactorSet::kA, LocalOptimizer::kAdamW},
                      ResumedCase{"b_adamw", FactorSet::kB, LocalOptimizer::kAdamW},
                      ResumedCase{"both_sgd", FactorSet::kBoth, LocalOptimizer::kSgd}),
    [](const auto& info) { return info.param.name; });

TEST_F(TorchTrainerTest, AStateOfAnotherTrainingIsRefused) {
  const TrainingState state = {.step = 1, .adapter = {1, 2, 3}};
  TrainingRequest request = RequestFor(reference_, 2);
  request.resumed = &state;
  EXPECT_THAT(trainer_->Train(request), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(TorchTrainerTest, TheOutcomeCountsTokens) {
  const auto outcome = trainer_->Train(RequestFor(reference_, 2));
  ASSERT_TRUE(outcome.ok());
  EXPECT_EQ(outcome->answer_token_count, 2 * ((13 - 6) + (21 - 15)));
  EXPECT_EQ(outcome->token_count, 2 * (12 + 20));  // Nothing follows the last token.
}

// The counters of one layer after the other, as the checkpoint's files say how
// many there are.
TEST_F(TorchTrainerTest, EveryTokenIsCountedForAsManyExpertsAsItGoesTo) {
  const auto model = DescribeBaseModel(kGolden / "model_b");
  ASSERT_TRUE(model.ok()) << model.status();
  const auto layers =
      std::count_if(model->linear_layers.begin(), model->linear_layers.end(),
                    [](const LinearLayer& layer) { return layer.kind == LayerKind::kRouter; });
  const int64_t experts = model->routed_expert_count;
  const auto outcome = trainer_->Train(RequestFor(reference_, 2));
  ASSERT_TRUE(outcome.ok());
  ASSERT_EQ(std::ssize(outcome->routed_tokens), layers * experts);
  for (int64_t layer = 0; layer < layers; ++layer) {
    const auto begin = outcome->routed_tokens.begin() + layer * experts;
    const int64_t tokens = layer + 1 < layers ? outcome->token_count : outcome->answer_token_count;
    EXPECT_EQ(std::reduce(begin, begin + experts), tokens * model->experts_per_token);
    EXPECT_LE(*std::max_element(begin, begin + experts), tokens);
  }
  const auto again = trainer_->Train(RequestFor(reference_, 2));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->routed_tokens, outcome->routed_tokens);
}

TEST_F(TorchTrainerTest, AnObserverEndsTheTraining) {
  int calls = 0;
  const auto outcome = trainer_->Train(RequestFor(reference_, 10),
                                       [&](const TrainingProgress&) { return ++calls < 2; });
  EXPECT_THAT(outcome, HasCode(absl::StatusCode::kCancelled));
  EXPECT_EQ(calls, 2);
}

TEST_F(TorchTrainerTest, AStopEndsTheTrainingWithinAStep) {
  TrainingRequest request = RequestFor(reference_, 1);
  request.batch = [this](int64_t) { return Batch(20'000, &reference_.records.front()); };
  int parts = 0;
  request.goes_on = [&] { return ++parts < 2; };
  const auto outcome = trainer_->Train(request, [](const TrainingProgress&) -> bool {
    ADD_FAILURE() << "a step";
    return true;
  });
  EXPECT_THAT(outcome, HasCode(absl::StatusCode::kCancelled));
  EXPECT_EQ(parts, 2);
}

TEST_F(TorchTrainerTest, ADivergedTrainingIsAnError) {
  TrainingRequest request = RequestFor(reference_, 5);
  request.optimizer = LocalOptimizer::kSgd;
  request.learning_rate = [](int64_t) { return 1e30; };
  EXPECT_THAT(trainer_->Train(request), HasCode(absl::StatusCode::kInternal));
}

TEST_F(TorchTrainerTest, AStepWithoutRecordsIsRefused) {
  TrainingRequest request = RequestFor(reference_, 1);
  request.batch = [](int64_t) { return Batch(); };
  EXPECT_THAT(trainer_->Train(request), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(TorchTrainerTest, TheLossIsThatOfTraining) {
  const auto evaluation = trainer_->Evaluate(EvaluationOf(reference_.records));
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  EXPECT_NEAR(evaluation->loss, reference_.loss, 1e-5);
  EXPECT_EQ(evaluation->example_count, 2);
  EXPECT_FALSE(evaluation->accuracy.has_value());
}

TEST_F(TorchTrainerTest, WithoutAnAdapterTheBaseModelIsEvaluated) {
  const auto evaluation = trainer_->Evaluate({nullptr, {}, reference_.records, {}});
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  EXPECT_NEAR(evaluation->loss, reference_.base_loss, 1e-5);
}

// A record for each prompt, with choice number `answer` as its answer.
std::vector<TokenizedRecord> RecordsWith(const std::vector<int32_t>& answer) {
  std::vector<TokenizedRecord> records;
  for (const std::vector<int32_t>& prompt :
       {std::vector<int32_t>{0, 9, 17, 33}, std::vector<int32_t>{0, 50, 4, 4, 61, 7, 12},
        std::vector<int32_t>{0, 21}}) {
    TokenizedRecord record{prompt, std::vector<uint8_t>(prompt.size(), 0)};
    record.tokens.insert(record.tokens.end(), answer.begin(), answer.end());
    record.is_target.resize(record.tokens.size(), 1);
    records.push_back(std::move(record));
  }
  return records;
}

TEST_F(TorchTrainerTest, TheChoiceIsTheLikeliestWholeAnswer) {
  const std::vector<std::vector<int32_t>> choices = {{40, 41, 1}, {55, 1}, {70}, {40, 42, 8, 1}};
  // The summed loss of each prompt with each choice, one at a time.
  std::vector<std::vector<double>> losses(3);
  for (const std::vector<int32_t>& choice : choices) {
    const std::vector<TokenizedRecord> records = RecordsWith(choice);
    for (size_t i = 0; i < records.size(); ++i) {
      const auto alone = trainer_->Evaluate(EvaluationOf({records[i]}));
      ASSERT_TRUE(alone.ok());
      losses[i].push_back(alone->loss * static_cast<double>(alone->answer_token_count));
    }
  }
  for (size_t answer = 0; answer < choices.size(); ++answer) {
    const std::vector<TokenizedRecord> records = RecordsWith(choices[answer]);
    EvaluationRequest request = EvaluationOf(records);
    request.choices = choices;
    const auto evaluation = trainer_->Evaluate(request);
    ASSERT_TRUE(evaluation.ok()) << evaluation.status();
    double right = 0, loss = 0;
    for (const std::vector<double>& row : losses) {
      right += *std::min_element(row.begin(), row.end()) == row[answer] ? 1 : 0;
      loss += row[answer];
    }
    EXPECT_DOUBLE_EQ(*evaluation->accuracy, right / 3);
    EXPECT_NEAR(evaluation->loss, loss / (3.0 * static_cast<double>(choices[answer].size())), 1e-4);
  }
}

TEST_F(TorchTrainerTest, AnAdapterThatOverflowsTheModelHasNoEvaluation) {
  for (float& value : reference_.adapter) value *= 1e30f;
  const auto evaluation = trainer_->Evaluate(EvaluationOf(reference_.records));
  EXPECT_THAT(evaluation, HasCode(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(std::string(evaluation.status().message()),
              ::testing::HasSubstr("not finite numbers with this adapter"));
  const std::vector<TokenizedRecord> records = RecordsWith({40, 41, 1});
  EvaluationRequest request = EvaluationOf(records);
  request.choices = {{40, 41, 1}, {55, 1}};
  EXPECT_THAT(trainer_->Evaluate(request), HasCode(absl::StatusCode::kOutOfRange));
}

TEST_F(TorchTrainerTest, AnAnswerThatIsNoChoiceIsRefused) {
  const std::vector<TokenizedRecord> records = RecordsWith({44, 1});
  EvaluationRequest request = EvaluationOf(records);
  request.choices = {{45, 1}, {46}};
  EXPECT_THAT(trainer_->Evaluate(request), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(TorchTrainerTest, AnEmptyChoiceIsRefused) {
  EvaluationRequest request = EvaluationOf(reference_.records);
  request.choices = {{}};
  EXPECT_THAT(trainer_->Evaluate(request), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(TorchTrainerTest, AChoiceOutsideTheVocabularyIsRefused) {
  EvaluationRequest request = EvaluationOf(reference_.records);
  request.choices = {{96}};
  EXPECT_THAT(trainer_->Evaluate(request), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(TorchTrainerTest, AnEvaluationOfNothingIsRefused) {
  EXPECT_THAT(trainer_->Evaluate(EvaluationOf({})), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(TorchTrainerTest, AnObserverEndsTheEvaluation) {
  EXPECT_THAT(
      trainer_->Evaluate(EvaluationOf(reference_.records), [](int64_t, int64_t) { return false; }),
      HasCode(absl::StatusCode::kCancelled));
}

TEST_F(TorchTrainerTest, RecordsThatCannotBeAreRefused) {
  const std::vector<TokenizedRecord> broken = {
      {{0, 5}, {0, 0}},                                              // No target.
      {{0, 5}, {1, 1}},                                              // Nothing before it.
      {{0, 5}, {1}},                                                 // Lengths differ.
      {{0, 96}, {0, 1}},                                             // Unknown token.
      {{0, -1}, {0, 1}},                                             // The same.
      {std::vector<int32_t>(257, 4), std::vector<uint8_t>(257, 0)},  // Too long.
      {{}, {}},                                                      // Empty.
  };
  for (const TokenizedRecord& record : broken) {
    EXPECT_THAT(trainer_->Evaluate(EvaluationOf({record})),
                HasCode(absl::StatusCode::kInvalidArgument));
  }
}

TEST(OpenTorchTrainerTest, AMissingFolderIsNotFound) {
  EXPECT_THAT(OpenTorchTrainer({"no/such/model"}), HasCode(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace fedtune
