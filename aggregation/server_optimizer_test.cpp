// SPDX-License-Identifier: Apache-2.0

#include "aggregation/server_optimizer.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <random>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using fedtune::testing::HasCode;
using fedtune::testing::IsOk;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;

// A of 1 x 2, B of 2 x 1: the flat vector is A A B B.
AdapterLayout Layout() {
  return *AdapterLayout::Create(
      {{.name = "q", .in_features = 2, .out_features = 2, .lora_rank = 1, .alpha = 1}});
}

// With a mean that is all there.
void Step(const AdapterLayout& layout, FactorSet factors, const ServerStep& step,
          const std::vector<float>& mean, std::span<float> adapter, ServerOptimizerState& state) {
  const auto read = [&mean](int64_t first, std::span<float> values) {
    std::copy_n(mean.begin() + first, values.size(), values.begin());
    return absl::OkStatus();
  };
  ASSERT_THAT(ApplyServerStep(layout, factors, step, read, adapter, state), IsOk());
}

TEST(ServerOptimizerTest, AverageAddsTheMeanTimesTheRate) {
  std::vector<float> adapter = {1, 2, 3, 4};
  ServerOptimizerState state;
  Step(Layout(), FactorSet::kBoth, {.learning_rate = 0.5f}, std::vector<float>{2, 4, -2, 0},
       adapter, state);
  EXPECT_THAT(adapter, ElementsAre(2, 4, 2, 4));
  EXPECT_TRUE(state.first_moment.empty());
}

TEST(ServerOptimizerTest, MomentumCarriesEarlierRoundsOn) {
  std::vector<float> adapter(4);
  ServerOptimizerState state;
  const ServerStep step{.rule = ServerRule::kMomentum, .learning_rate = 1, .beta1 = 0.5f};
  for (const float mean : {1.0f, 1.0f, 0.0f}) {
    Step(Layout(), FactorSet::kBoth, step, std::vector<float>(4, mean), adapter, state);
  }
  EXPECT_THAT(adapter, Each(1 + 1.5f + 0.75f));
  EXPECT_THAT(state.first_moment, Each(0.75f));
}

TEST(ServerOptimizerTest, AdamMovesByTheRateInItsFirstRoundWhateverTheSize) {
  std::vector<float> adapter(4);
  ServerOptimizerState state;
  const ServerStep step{.rule = ServerRule::kAdam, .learning_rate = 5e-3f, .epsilon = 1e-12f};
  Step(Layout(), FactorSet::kBoth, step, std::vector<float>{1e-3f, -1e-3f, 10, 1e-6f}, adapter,
       state);
  EXPECT_THAT(adapter, ElementsAre(FloatNear(5e-3f, 1e-8f), FloatNear(-5e-3f, 1e-8f),
                                   FloatNear(5e-3f, 1e-8f), FloatNear(5e-3f, 1e-7f)));
}

// The formula of the header in long double, over 100 rounds of noise.
TEST(ServerOptimizerTest, AdamFollowsItsFormula) {
  std::mt19937_64 random(5);
  std::normal_distribution<float> noise(1e-4f, 1e-3f);
  std::vector<float> adapter(4);
  ServerOptimizerState state;
  const ServerStep step{.rule = ServerRule::kAdam, .learning_rate = 5e-3f};
  long double m = 0, v = 0, x = 0;
  for (int t = 1; t <= 100; ++t) {
    const float mean = noise(random);
    Step(Layout(), FactorSet::kBoth, step, std::vector<float>(4, mean), adapter, state);
    m = step.beta1 * m + (1 - static_cast<long double>(step.beta1)) * mean;
    v = step.beta2 * v + (1 - static_cast<long double>(step.beta2)) * mean * mean;
    const long double m_hat = m / (1 - std::pow(static_cast<long double>(step.beta1), t));
    const long double v_hat = v / (1 - std::pow(static_cast<long double>(step.beta2), t));
    x += step.learning_rate * m_hat / (std::sqrt(v_hat) + step.epsilon);
  }
  EXPECT_THAT(adapter, Each(FloatNear(static_cast<float>(x), 1e-6f)));
}

TEST(ServerOptimizerTest, UpdatesOnlyTheFactorsOfTheRound) {
  std::vector<float> adapter = {1, 2, 3, 4};
  ServerOptimizerState state;
  const ServerStep step{.rule = ServerRule::kAdam, .learning_rate = 1};
  Step(Layout(), FactorSet::kB, step, std::vector<float>{1, 1}, adapter, state);
  EXPECT_EQ(adapter[0], 1);
  EXPECT_EQ(adapter[1], 2);
  EXPECT_NE(adapter[2], 3);
  EXPECT_THAT(state.first_moment,
              ElementsAre(0, 0, FloatNear(0.1f, 1e-6f), FloatNear(0.1f, 1e-6f)));
}

TEST(ServerOptimizerTest, CountsTheRoundsOfEachFactorForItself) {
  const ServerStep step{.rule = ServerRule::kAdam, .learning_rate = 1};
  std::vector<float> adapter(4);
  ServerOptimizerState state;
  for (const FactorSet factors : {FactorSet::kB, FactorSet::kA, FactorSet::kB}) {
    Step(Layout(), factors, step, std::vector<float>{1, 1}, adapter, state);
  }
  EXPECT_EQ(state.steps_a, 1);
  EXPECT_EQ(state.steps_b, 2);
  // With constant input the corrected moments are the input itself, so every
  // step has length one.
  EXPECT_NEAR(adapter[0], 1, 1e-4);
  EXPECT_NEAR(adapter[2], 2, 1e-4);
}

TEST(ServerOptimizerTest, TurnsDenormalResultsIntoZero) {
  std::vector<float> adapter = {0, FLT_MIN, 0, 1};
  ServerOptimizerState state;
  const ServerStep step{.rule = ServerRule::kMomentum, .learning_rate = 1, .beta1 = 0.5f};
  Step(Layout(), FactorSet::kA, step, std::vector<float>{FLT_MIN / 4, -FLT_MIN / 2}, adapter,
       state);
  EXPECT_EQ(adapter[0], 0);
  EXPECT_EQ(state.first_moment[0], 0);
  EXPECT_EQ(state.first_moment[1], 0);
  EXPECT_EQ(adapter[1], FLT_MIN);
}

TEST(ServerOptimizerTest, MomentsThatFadeStayNormalNumbers) {
  std::vector<float> adapter(4);
  ServerOptimizerState state;
  const ServerStep step{.rule = ServerRule::kAdam, .learning_rate = 1e-3f, .beta2 = 0.9f};
  Step(Layout(), FactorSet::kBoth, step, std::vector<float>(4, 1e-9f), adapter, state);
  for (int round = 0; round < 2000; ++round) {
    Step(Layout(), FactorSet::kBoth, step, std::vector<float>(4, 0), adapter, state);
    for (const auto* moments : {&state.first_moment, &state.second_moment}) {
      ASSERT_TRUE((*moments)[0] == 0 || std::isnormal((*moments)[0]));
    }
  }
  EXPECT_EQ(state.second_moment[0], 0);
}

ServerOptimizerState AdamState() {
  return {.steps_a = 3, .steps_b = 4, .first_moment = {1, 2, 3, 4}, .second_moment = {5, 6, 7, 8}};
}

TEST(ServerOptimizerStateTest, ReadsWhatItWrites) {
  for (const ServerOptimizerState& state :
       {ServerOptimizerState(), ServerOptimizerState{.steps_a = 2}, AdamState()}) {
    const auto read = ServerOptimizerStateFromBytes(ToBytes(state), 4);
    ASSERT_THAT(read, IsOk()) << read.status();
    EXPECT_EQ(*read, state);
  }
}

TEST(ServerOptimizerStateTest, RefusesBytesThatAreNone) {
  const std::string good = ToBytes(AdamState());
  for (const std::string& bytes :
       {std::string(), std::string("FTOPT1\n"), std::string(good.size(), 'x'),
        good.substr(0, good.size() - 1), good + "x", good.substr(0, 30)}) {
    EXPECT_THAT(ServerOptimizerStateFromBytes(bytes, 4),
                HasCode(absl::StatusCode::kInvalidArgument));
  }
}

TEST(ServerOptimizerStateTest, RefusesMomentsOfAnotherAdapter) {
  const auto read = ServerOptimizerStateFromBytes(ToBytes(AdamState()), 5);
  EXPECT_EQ(Message(read.status()),
            "server optimiser state: moments of 4 values for an adapter of 5");
}

TEST(ServerOptimizerStateTest, RefusesNegativeCounts) {
  ServerOptimizerState state = AdamState();
  state.steps_b = -1;
  EXPECT_THAT(Message(ServerOptimizerStateFromBytes(ToBytes(state), 4).status()),
              HasSubstr("negative"));
}

// More than one thread's share, so several threads make the step.
TEST(ServerOptimizerTest, GivesTheSameForLargeTensorsAsValueByValue) {
  const AdapterLayout layout = *AdapterLayout::Create(
      {{.name = "q", .in_features = 400'001, .out_features = 300'007, .lora_rank = 4, .alpha = 4}});
  const auto size = static_cast<size_t>(layout.parameter_count());
  std::vector<float> mean(size);
  for (size_t i = 0; i < size; ++i) mean[i] = static_cast<float>(i % 1021) * 1e-3f;
  std::vector<float> adapter(size, 1);
  ServerOptimizerState state;
  Step(layout, FactorSet::kBoth, {.learning_rate = 0.5f}, mean, adapter, state);
  for (size_t i = 0; i < size; ++i) ASSERT_EQ(adapter[i], static_cast<float>(1 + 0.5 * mean[i]));
}

TEST(ServerOptimizerTest, EndsWithTheErrorOfTheMean) {
  std::vector<float> adapter(4);
  ServerOptimizerState state;
  const auto broken = [](int64_t, std::span<float>) { return absl::InternalError("no mean"); };
  EXPECT_THAT(ApplyServerStep(Layout(), FactorSet::kBoth, {}, broken, adapter, state),
              HasCode(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace fedtune
