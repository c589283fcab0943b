// SPDX-License-Identifier: Apache-2.0

#include "plan/server_step.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

Plan TenRounds() {
  Plan plan;
  plan.rounds.count = 10;
  plan.server.learning_rate = 2;
  return plan;
}

TEST(ServerStepTest, TakesTheRuleAndItsSettingsFromThePlan) {
  Plan plan = TenRounds();
  plan.server.optimizer = ServerRule::kAdam;
  plan.server.beta1 = 0.8;
  plan.server.beta2 = 0.95;
  plan.server.epsilon = 1e-3;
  const ServerStep step = ServerStepOf(plan, 0);
  EXPECT_EQ(step.rule, ServerRule::kAdam);
  EXPECT_EQ(step.beta1, 0.8f);
  EXPECT_EQ(step.beta2, 0.95f);
  EXPECT_EQ(step.epsilon, 1e-3f);
}

TEST(ServerStepTest, KeepsTheRateWithoutASchedule) {
  for (int64_t round = 0; round < 10; ++round) {
    EXPECT_EQ(ServerStepOf(TenRounds(), round).learning_rate, 2);
  }
}

TEST(ServerStepTest, WarmsUpInALine) {
  Plan plan = TenRounds();
  plan.server.warmup = 0.2;
  EXPECT_FLOAT_EQ(ServerStepOf(plan, 0).learning_rate, 0.5f);
  EXPECT_FLOAT_EQ(ServerStepOf(plan, 1).learning_rate, 1.5f);
  EXPECT_FLOAT_EQ(ServerStepOf(plan, 2).learning_rate, 2);
}

TEST(ServerStepTest, FallsAlongACosineToTheFinalShare) {
  Plan plan = TenRounds();
  plan.rounds.count = 1001;
  plan.server.schedule = RateSchedule::kCosine;
  plan.server.final_share = 0.1;
  EXPECT_NEAR(ServerStepOf(plan, 0).learning_rate, 2, 1e-4);
  EXPECT_FLOAT_EQ(ServerStepOf(plan, 500).learning_rate, 1.1f);
  EXPECT_NEAR(ServerStepOf(plan, 1000).learning_rate, 0.2, 1e-4);
}

TEST(ServerStepTest, StartsTheCosineAfterTheWarmUp) {
  Plan plan = TenRounds();
  plan.rounds.count = 1000;
  plan.server.schedule = RateSchedule::kCosine;
  plan.server.warmup = 0.5;
  EXPECT_NEAR(ServerStepOf(plan, 500).learning_rate, 2, 1e-4);
  EXPECT_NEAR(ServerStepOf(plan, 750).learning_rate, 1, 0.01);
}

TEST(ServerStepTest, NeverHasRateZero) {
  Plan plan = TenRounds();
  plan.server.schedule = RateSchedule::kCosine;
  plan.server.warmup = 0.3;
  for (int64_t round = 0; round < 10; ++round) {
    EXPECT_GT(ServerStepOf(plan, round).learning_rate, 0) << round;
  }
}

}  // namespace
}  // namespace fedtune
