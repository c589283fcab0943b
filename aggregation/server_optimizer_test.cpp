// SPDX-License-Identifier: Apache-2.0

#include "aggregation/server_optimizer.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/optimized_adapter.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using fedtune::testing::HasCode;
using fedtune::testing::IsOk;
using fedtune::testing::OptimizedAdapter;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatNear;
using ::testing::HasSubstr;

// A of 1 x 2, B of 2 x 1: the flat vector is A A B B.
AdapterLayout Layout() {
  return *AdapterLayout::Create(
      {{.name = "q", .in_features = 2, .out_features = 2, .lora_rank = 1, .alpha = 1}});
}

class WholeMean final : public MeanSource {
 public:
  WholeMean(FactorSet factors, const std::vector<float>& mean) : factors_(factors), mean_(mean) {}

  FactorSet factors() const override { return factors_; }
  absl::Status Mean(int64_t first, std::span<float> mean) const override {
    std::copy_n(mean_.begin() + first, mean.size(), mean.begin());
    return absl::OkStatus();
  }

 private:
  const FactorSet factors_;
  const std::vector<float>& mean_;
};

class BrokenMean final : public MeanSource {
 public:
  FactorSet factors() const override { return FactorSet::kBoth; }
  absl::Status Mean(int64_t, std::span<float>) const override {
    return absl::DataLossError("the spool");
  }
};

void Step(const AdapterLayout& layout, FactorSet factors, const ServerStep& step,
          const std::vector<float>& mean, OptimizedAdapter& adapter) {
  adapter.Prepare(step, factors);
  const WholeMean whole(factors, mean);
  ASSERT_THAT(ApplyServerStep(layout, whole, step, adapter.head, adapter), IsOk());
}

TEST(ServerOptimizerTest, AverageAddsTheMeanTimesTheRate) {
  OptimizedAdapter adapter({1, 2, 3, 4});
  Step(Layout(), FactorSet::kBoth, {.learning_rate = 0.5f}, std::vector<float>{2, 4, -2, 0},
       adapter);
  EXPECT_THAT(adapter.values, ElementsAre(2, 4, 2, 4));
  EXPECT_TRUE(adapter.first_moment.empty());
}

TEST(ServerOptimizerTest, MomentumCarriesEarlierRoundsOn) {
  OptimizedAdapter adapter(std::vector<float>(4));
  const ServerStep step{.rule = ServerRule::kMomentum, .learning_rate = 1, .beta1 = 0.5f};
  for (const float mean : {1.0f, 1.0f, 0.0f}) {
    Step(Layout(), FactorSet::kBoth, step, std::vector<float>(4, mean), adapter);
  }
  EXPECT_THAT(adapter.values, Each(1 + 1.5f + 0.75f));
  EXPECT_THAT(adapter.first_moment, Each(0.75f));
}

TEST(ServerOptimizerTest, AdamMovesByTheRateInItsFirstRoundWhateverTheSize) {
  OptimizedAdapter adapter(std::vector<float>(4));
  const ServerStep step{.rule = ServerRule::kAdam, .learning_rate = 5e-3f, .epsilon = 1e-12f};
  Step(Layout(), FactorSet::kBoth, step, std::vector<float>{1e-3f, -1e-3f, 10, 1e-6f}, adapter);
  EXPECT_THAT(adapter.values, ElementsAre(FloatNear(5e-3f, 1e-8f), FloatNear(-5e-3f, 1e-8f),
                                          FloatNear(5e-3f, 1e-8f), FloatNear(5e-3f, 1e-7f)));
}

// The formula of the header in long double, over 100 rounds of noise.
TEST(ServerOptimizerTest, AdamFollowsItsFormula) {
  std::mt19937_64 random(5);
  std::normal_distribution<float> noise(1e-4f, 1e-3f);
  OptimizedAdapter adapter(std::vector<float>(4));
  const ServerStep step{.rule = ServerRule::kAdam, .learning_rate = 5e-3f};
  long double m = 0, v = 0, x = 0;
  for (int t = 1; t <= 100; ++t) {
    const float mean = noise(random);
    Step(Layout(), FactorSet::kBoth, step, std::vector<float>(4, mean), adapter);
    m = step.beta1 * m + (1 - static_cast<long double>(step.beta1)) * mean;
    v = step.beta2 * v + (1 - static_cast<long double>(step.beta2)) * mean * mean;
    const long double m_hat = m / (1 - std::pow(static_cast<long double>(step.beta1), t));
    const long double v_hat = v / (1 - std::pow(static_cast<long double>(step.beta2), t));
    x += step.learning_rate * m_hat / (std::sqrt(v_hat) + step.epsilon);
  }
  EXPECT_THAT(adapter.values, Each(FloatNear(static_cast<float>(x), 1e-6f)));
}

TEST(ServerOptimizerTest, UpdatesOnlyTheFactorsOfTheRound) {
  OptimizedAdapter adapter({1, 2, 3, 4});
  const ServerStep step{.rule = ServerRule::kAdam, .learning_rate = 1};
  Step(Layout(), FactorSet::kB, step, std::vector<float>{1, 1}, adapter);
  EXPECT_EQ(adapter.values[0], 1);
  EXPECT_EQ(adapter.values[1], 2);
  EXPECT_NE(adapter.values[2], 3);
  EXPECT_THAT(adapter.first_moment,
              ElementsAre(0, 0, FloatNear(0.1f, 1e-6f), FloatNear(0.1f, 1e-6f)));
}

TEST(ServerOptimizerTest, CountsTheRoundsOfEachFactorForItself) {
  const ServerStep step{.rule = ServerRule::kAdam, .learning_rate = 1};
  OptimizedAdapter adapter(std::vector<float>(4));
  for (const FactorSet factors : {FactorSet::kB, FactorSet::kA, FactorSet::kB}) {
    Step(Layout(), factors, step, std::vector<float>{1, 1}, adapter);
  }
  EXPECT_EQ(adapter.head.steps_a, 1);
  EXPECT_EQ(adapter.head.steps_b, 2);
  // With constant input the corrected moments are the input itself, so every
  // step has length one.
  EXPECT_NEAR(adapter.values[0], 1, 1e-4);
  EXPECT_NEAR(adapter.values[2], 2, 1e-4);
}

TEST(ServerOptimizerTest, TurnsDenormalResultsIntoZero) {
  OptimizedAdapter adapter({0, FLT_MIN, 0, 1});
  const ServerStep step{.rule = ServerRule::kMomentum, .learning_rate = 1, .beta1 = 0.5f};
  Step(Layout(), FactorSet::kA, step, std::vector<float>{FLT_MIN / 4, -FLT_MIN / 2}, adapter);
  EXPECT_EQ(adapter.values[0], 0);
  EXPECT_EQ(adapter.first_moment[0], 0);
  EXPECT_EQ(adapter.first_moment[1], 0);
  EXPECT_EQ(adapter.values[1], FLT_MIN);
}

TEST(ServerOptimizerTest, MomentsThatFadeStayNormalNumbers) {
  OptimizedAdapter adapter(std::vector<float>(4));
  const ServerStep step{.rule = ServerRule::kAdam, .learning_rate = 1e-3f, .beta2 = 0.9f};
  Step(Layout(), FactorSet::kBoth, step, std::vector<float>(4, 1e-9f), adapter);
  for (int round = 0; round < 2000; ++round) {
    Step(Layout(), FactorSet::kBoth, step, std::vector<float>(4, 0), adapter);
    for (const auto* moments : {&adapter.first_moment, &adapter.second_moment}) {
      ASSERT_TRUE((*moments)[0] == 0 || std::isnormal((*moments)[0]));
    }
  }
  EXPECT_EQ(adapter.second_moment[0], 0);
}

// Of an adapter with 4 values.
std::string AdamState(OptimizerStateHead head = {
                          .steps_a = 3, .steps_b = 4, .first_count = 4, .second_count = 4}) {
  return head.ToBytes() + std::string(8 * sizeof(float), 'v');
}

TEST(OptimizerStateHeadTest, ReadsWhatItWrites) {
  const OptimizerStateHead steps{.steps_a = 2};
  EXPECT_EQ(*ReadOptimizerStateHead(steps.ToBytes(), 4), steps);
  const auto read = ReadOptimizerStateHead(AdamState(), 4);
  ASSERT_THAT(read, IsOk()) << read.status();
  EXPECT_EQ(read->ToBytes(), AdamState().substr(0, read->FirstAt(0)));
}

TEST(OptimizerStateHeadTest, SaysWhereMomentsAreStored) {
  const auto head = *ReadOptimizerStateHead(AdamState(), 4);
  EXPECT_EQ(head.FirstAt(0), head.ToBytes().size());
  EXPECT_EQ(head.SecondAt(0), head.FirstAt(4));
  EXPECT_EQ(head.stored_bytes(), AdamState().size());
}

TEST(OptimizerStateHeadTest, CountsMomentsThatTheRuleNeeds) {
  const auto after = [](ServerRule rule) { return Next({}, rule, FactorSet::kB, 4); };
  EXPECT_EQ(after(ServerRule::kAverage), (OptimizerStateHead{.steps_b = 1}));
  EXPECT_EQ(after(ServerRule::kMomentum), (OptimizerStateHead{.steps_b = 1, .first_count = 4}));
  EXPECT_EQ(after(ServerRule::kAdam),
            (OptimizerStateHead{.steps_b = 1, .first_count = 4, .second_count = 4}));
}

TEST(OptimizerStateHeadTest, RefusesBytesThatAreNone) {
  const std::string good = AdamState();
  for (const std::string& bytes :
       {std::string(), std::string("FTOPT1\n"), std::string(good.size(), 'x'),
        good.substr(0, good.size() - 1), good + "x", good.substr(0, 30)}) {
    EXPECT_THAT(ReadOptimizerStateHead(bytes, 4), HasCode(absl::StatusCode::kInvalidArgument));
  }
}

TEST(OptimizerStateHeadTest, RefusesMomentsOfAnotherAdapter) {
  EXPECT_EQ(Message(ReadOptimizerStateHead(AdamState(), 5).status()),
            "server optimiser state: moments of 4 values for an adapter of 5");
}

TEST(OptimizerStateHeadTest, RefusesNegativeCounts) {
  const std::string bytes = AdamState({.steps_b = -1, .first_count = 4, .second_count = 4});
  EXPECT_THAT(Message(ReadOptimizerStateHead(bytes, 4).status()), HasSubstr("negative"));
}

// More than one thread's share, so several threads make the step.
TEST(ServerOptimizerTest, GivesTheSameForLargeTensorsAsValueByValue) {
  const AdapterLayout layout = *AdapterLayout::Create(
      {{.name = "q", .in_features = 400'001, .out_features = 300'007, .lora_rank = 4, .alpha = 4}});
  const auto size = static_cast<size_t>(layout.parameter_count());
  std::vector<float> mean(size);
  for (size_t i = 0; i < size; ++i) mean[i] = static_cast<float>(i % 1021) * 1e-3f;
  OptimizedAdapter adapter(std::vector<float>(size, 1));
  Step(layout, FactorSet::kBoth, {.learning_rate = 0.5f}, mean, adapter);
  for (size_t i = 0; i < size; ++i)
    ASSERT_EQ(adapter.values[i], static_cast<float>(1 + 0.5 * mean[i]));
}

TEST(ServerOptimizerTest, EndsWithTheErrorOfTheMean) {
  OptimizedAdapter adapter(std::vector<float>(4));
  EXPECT_THAT(ApplyServerStep(Layout(), BrokenMean(), {}, {}, adapter),
              HasCode(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace fedtune
