// SPDX-License-Identifier: Apache-2.0

#include "client/round/training_schedule.h"

#include "gmock/gmock.h"

namespace fedtune {
namespace {

TEST(StepsPerRoundTest, AreThePlansSteps) {
  EXPECT_EQ(StepsPerRound({.steps = 5, .batch_size = 8}, 1000), 5);
}

TEST(StepsPerRoundTest, CoverTheEpochsWithWholeBatches) {
  EXPECT_EQ(StepsPerRound({.epochs = 1, .batch_size = 8}, 16), 2);
  EXPECT_EQ(StepsPerRound({.epochs = 1, .batch_size = 8}, 17), 3);
  EXPECT_EQ(StepsPerRound({.epochs = 3, .batch_size = 8}, 17), 7);
}

TEST(LocalLearningRateTest, StaysConstant) {
  const TrainingPlan plan{.learning_rate = 0.5};
  EXPECT_DOUBLE_EQ(LocalLearningRate(plan, {.round = 0, .rounds = 3}), 0.5);
  EXPECT_DOUBLE_EQ(LocalLearningRate(plan, {.round = 2, .rounds = 3}), 0.5);
}

TEST(LocalLearningRateTest, WarmsUpOverItsShareOfTheRun) {
  const TrainingPlan plan{.learning_rate = 1, .warmup = 0.5};
  EXPECT_DOUBLE_EQ(LocalLearningRate(plan, {.round = 0, .rounds = 4, .step = 0, .steps = 1}), 0.25);
  EXPECT_DOUBLE_EQ(LocalLearningRate(plan, {.round = 1, .rounds = 4, .step = 0, .steps = 1}), 0.75);
  EXPECT_DOUBLE_EQ(LocalLearningRate(plan, {.round = 2, .rounds = 4, .step = 0, .steps = 1}), 1);
}

TEST(LocalLearningRateTest, FallsAlongACosineOverAllRounds) {
  const TrainingPlan plan{.learning_rate = 2, .schedule = RateSchedule::kCosine};
  const double first = LocalLearningRate(plan, {.round = 0, .rounds = 2, .step = 0, .steps = 500});
  const double middle = LocalLearningRate(plan, {.round = 1, .rounds = 2, .step = 0, .steps = 500});
  const double last = LocalLearningRate(plan, {.round = 1, .rounds = 2, .step = 499, .steps = 500});
  EXPECT_NEAR(first, 2, 1e-4);
  EXPECT_NEAR(middle, 1, 1e-2);
  EXPECT_NEAR(last, 0, 1e-4);
  EXPECT_GT(last, 0);
}

TEST(LocalLearningRateTest, CutsARunTheSameWayWhateverTheLengthOfItsRounds) {
  const TrainingPlan plan{.learning_rate = 1, .schedule = RateSchedule::kCosine, .warmup = 0.25};
  EXPECT_DOUBLE_EQ(LocalLearningRate(plan, {.round = 6, .rounds = 8, .step = 0, .steps = 1}),
                   LocalLearningRate(plan, {.round = 1, .rounds = 2, .step = 2, .steps = 4}));
}

}  // namespace
}  // namespace fedtune
