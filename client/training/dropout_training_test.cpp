// SPDX-License-Identifier: Apache-2.0

// Trainings whose factors see only part of their inputs.

#include <cmath>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "client/training/torch_trainer.h"
#include "gtest/gtest.h"
#include "tests/support/model_reference.h"

namespace fedtune {
namespace {

using testing::ModelReference;
using testing::ReadModelReference;

const std::filesystem::path kModel = "tests/interop/golden/v3_b";

class DropoutTrainingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto trainer = OpenTorchTrainer({kModel, ComputeDevice::Cpu(), /*threads=*/1});
    ASSERT_TRUE(trainer.ok()) << trainer.status();
    trainer_ = *std::move(trainer);
    auto reference = ReadModelReference(kModel);
    ASSERT_TRUE(reference.ok()) << reference.status();
    reference_ = *std::move(reference);
  }

  TrainingRequest Request(double dropout, uint64_t seed = 1) const {
    TrainingRequest request;
    request.layout = &reference_.layout;
    request.adapter = reference_.adapter;
    request.steps = 4;
    request.batch = [this](int64_t) {
      Batch batch;
      for (const TokenizedRecord& record : reference_.records) batch.push_back(&record);
      return batch;
    };
    request.learning_rate = [](int64_t) { return 1e-3; };
    request.dropout = dropout;
    request.dropout_seed = seed;
    return request;
  }

  std::vector<float> Trained(const TrainingRequest& request) {
    const auto outcome = trainer_->Train(request);
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    return outcome.ok() ? outcome->adapter : std::vector<float>();
  }

  std::unique_ptr<Trainer> trainer_;
  ModelReference reference_;
};

TEST_F(DropoutTrainingTest, NoneHasTheBitsOfATrainingThatDoesNotKnowIt) {
  EXPECT_EQ(Trained(Request(0, 1)), Trained(Request(0, 2)));
}

TEST_F(DropoutTrainingTest, EqualSeedsGiveEqualBitsAndOthersDoNot) {
  const std::vector<float> one = Trained(Request(0.3, 1));
  EXPECT_EQ(one, Trained(Request(0.3, 1)));
  EXPECT_NE(one, Trained(Request(0.3, 2)));
  EXPECT_NE(one, Trained(Request(0)));
}

TEST_F(DropoutTrainingTest, AResumedTrainingDropsWhatTheWholeOneDid) {
  TrainingRequest request = Request(0.3);
  std::vector<TrainingState> states;
  request.take_state = [&](int64_t, const auto& state) { states.push_back(state()); };
  const std::vector<float> whole = Trained(request);
  ASSERT_EQ(states.size(), 4u);
  TrainingRequest rest = Request(0.3);
  rest.resumed = &states[1];
  EXPECT_EQ(Trained(rest), whole);
}

TEST_F(DropoutTrainingTest, RecomputedLayersDropWhatTheyDropped) {
  TrainingRequest request = Request(0.3);
  const auto kept = trainer_->Train(request);
  request.recomputed_layers = 2;
  const auto recomputed = trainer_->Train(request);
  ASSERT_TRUE(kept.ok() && recomputed.ok());
  EXPECT_EQ(recomputed->adapter, kept->adapter);
  EXPECT_EQ(recomputed->loss, kept->loss);
  EXPECT_EQ(recomputed->routed_tokens, kept->routed_tokens);
}

// What a training reports is the loss with dropout; an evaluation has none.
TEST_F(DropoutTrainingTest, EvaluationsSeeEverything) {
  TrainingRequest request = Request(0.5);
  request.steps = 1;
  const auto outcome = trainer_->Train(request);
  const auto evaluation =
      trainer_->Evaluate({&reference_.layout, reference_.adapter, reference_.records, {}});
  ASSERT_TRUE(outcome.ok() && evaluation.ok());
  EXPECT_NEAR(evaluation->loss, reference_.loss, 1e-4);
  EXPECT_GT(std::abs(outcome->loss - reference_.loss), 1e-3);
}

// In alternating rounds one factor is frozen.
TEST_F(DropoutTrainingTest, AFrozenFactorKeepsItsBits) {
  TrainingRequest request = Request(0.3);
  request.factors = FactorSet::kB;
  const std::vector<float> trained = Trained(request);
  bool moved = false;
  for (const AdapterTensor& tensor : reference_.layout.tensors()) {
    for (auto i = static_cast<size_t>(tensor.offset);
         i < static_cast<size_t>(tensor.offset + tensor.size()); ++i) {
      if (tensor.factor == Factor::kA) {
        ASSERT_EQ(trained[i], reference_.adapter[i]);
      }
      moved = moved || trained[i] != reference_.adapter[i];
    }
  }
  EXPECT_TRUE(moved);
}

}  // namespace
}  // namespace fedtune
