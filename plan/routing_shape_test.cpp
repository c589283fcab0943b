// SPDX-License-Identifier: Apache-2.0

#include "plan/routing_shape.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "plan/adapter_targets.h"
#include "plan/cost.h"
#include "plan/secure_session.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;

// A dense layer and `routers` others, each with eight experts of which a token
// goes to two.
BaseModelDescription Model(int routers = 2) {
  BaseModelDescription model;
  model.name = "tiny";
  model.parameter_count = 1000;
  model.experts_per_token = 2;
  model.routed_expert_count = 8;
  model.linear_layers = {{"model.layers.0.self_attn.q_proj", LayerKind::kAttention, 16, 16}};
  for (int layer = 1; layer <= routers; ++layer) {
    model.linear_layers.push_back(
        {fmt::format("model.layers.{}.mlp.gate", layer), LayerKind::kRouter, 16, 8});
  }
  return model;
}

Plan ParsedPlan() {
  return *ParsePlan(
      "name = 'a'\nbase_model = 'tiny'\n[adapter]\nrank = 2\ntargets = ['q_proj']\n[training]\n"
      "steps = 10\nbatch_size = 4\nsequence_length = 100\n[rounds]\ncount = 3\n[aggregation]\n"
      "mode = 'secure'\nmethod = 'fedit'\n[secure]\nmax_cohort = 5\n",
      "plan.toml");
}

void ExpectRefused(const BaseModelDescription& model, std::string_view message) {
  const auto shape = RoutingShapeOf(model, ParsedPlan().training);
  EXPECT_THAT(shape, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(shape.status()), HasSubstr(message));
}

TEST(RoutingShapeTest, CountsEachExpertOfEachRouter) {
  const auto shape = RoutingShapeOf(Model(), ParsedPlan().training);
  ASSERT_THAT(shape, IsOk()) << shape.status();
  EXPECT_EQ(*shape,
            (RoutingShape{.layers = 2, .experts = 8, .choices = 2, .most_tokens = 10 * 4 * 100}));
}

TEST(RoutingShapeTest, ADenseModelCountsNothing) {
  const auto shape = RoutingShapeOf(Model(0), ParsedPlan().training);
  ASSERT_THAT(shape, IsOk());
  EXPECT_EQ(*shape, RoutingShape());
  EXPECT_EQ(shape->counter_count(), 0);
}

TEST(RoutingShapeTest, OfEpochsAClientMayHaveAsManyRecordsAsCanBeCounted) {
  TrainingPlan training = ParsedPlan().training;
  training.steps = 0;
  training.epochs = 3;
  EXPECT_EQ(RoutingShapeOf(Model(), training)->most_tokens,
            (3 * kMostCountedExamples + 3) * training.sequence_length);
}

TEST(RoutingShapeTest, TheLargestPlanStaysWithinWhatIsCounted) {
  TrainingPlan training = {.steps = 1'000'000, .batch_size = 65'536};
  training.sequence_length = 1 << 20;
  EXPECT_EQ(RoutingShapeOf(Model(), training)->most_tokens, kMostCountedTokens);
  training.steps = 0;
  training.epochs = 10'000;
  EXPECT_EQ(RoutingShapeOf(Model(), training)->most_tokens, kMostCountedTokens);
}

TEST(RoutingShapeTest, RefusesARouterOfAnotherModel) {
  BaseModelDescription model = Model();
  model.linear_layers.back().out_features = 9;
  ExpectRefused(model,
                "model.layers.2.mlp.gate of tiny has 9 outputs, and the model 8 routed experts");
}

TEST(RoutingShapeTest, RefusesMoreChoicesThanExperts) {
  for (const int64_t choices : {0, 9}) {
    BaseModelDescription model = Model();
    model.experts_per_token = choices;
    ExpectRefused(model, "of 8 experts");
  }
}

TEST(RoutingShapeTest, RefusesMoreExpertsThanAreCounted) {
  BaseModelDescription model = Model();
  model.routed_expert_count = int64_t{1} << 29;
  for (LinearLayer& layer : model.linear_layers) {
    if (layer.kind == LayerKind::kRouter) layer.out_features = model.routed_expert_count;
  }
  ExpectRefused(model, "at most 1048576 experts are counted");
}

// What a secure round masks, and its session.
class RoutedRoundTest : public ::testing::Test {
 protected:
  SessionParameters Parameters(const SecureAttempt& attempt) const {
    return *SecureSessionParameters(plan_, "the plan", layout_, Sha256Of("roster"), attempt);
  }

  const Plan plan_ = ParsedPlan();
  const AdapterLayout layout_ = *ResolveTargets(Model(), plan_.adapter);
  const RoutingShape routing_ = *RoutingShapeOf(Model(), plan_.training);
};

TEST_F(RoutedRoundTest, CountersLieBehindTheValuesOfARoundThatTrains) {
  const MaskedLayout training = *MaskedLayoutOf(plan_, layout_, {.routing = routing_});
  EXPECT_EQ(training.value_count(), layout_.parameter_count());
  EXPECT_EQ(training.counters().back().name, "routed_tokens[1][7]");
  EXPECT_EQ(training.counters().back().most, 4000);
  const MaskedLayout evaluation =
      *MaskedLayoutOf(plan_, layout_, {.evaluate_only = true, .routing = routing_});
  EXPECT_EQ(evaluation.value_count(), 0);
  EXPECT_EQ(training.counters().size() - evaluation.counters().size(), 16U);
}

TEST_F(RoutedRoundTest, AnotherShapeIsAnotherSessionEvenWithAsManyElements) {
  const SessionParameters ours = Parameters({.routing = routing_});
  EXPECT_EQ(ours.element_count, Parameters({.routing = routing_}).element_count);
  RoutingShape turned = routing_;
  std::swap(turned.layers, turned.experts);
  RoutingShape other_choices = routing_;
  other_choices.choices = 1;
  for (const RoutingShape& other : {turned, other_choices}) {
    const SessionParameters theirs = Parameters({.routing = other});
    EXPECT_EQ(theirs.element_count, ours.element_count);
    EXPECT_NE(SessionId(theirs), SessionId(ours));
  }
  EXPECT_NE(SessionId(Parameters({})), SessionId(ours));
}

TEST_F(RoutedRoundTest, CostsOneElementForEachExpertOfASmallRound) {
  const PlanCost cost = EstimateCost(plan_, Model(), layout_, ComputeType::kFp32);
  const PlanCost dense = EstimateCost(plan_, Model(0), layout_, ComputeType::kFp32);
  EXPECT_EQ(dense.routing_upload_bytes_a_round, 0);
  EXPECT_EQ(cost.routing_upload_bytes_a_round, 16 * 4);
  EXPECT_EQ(cost.secure_upload_bytes_a_round - dense.secure_upload_bytes_a_round, 16 * 4);
  // Not in the final evaluation.
  EXPECT_EQ(cost.transfer_bytes - dense.transfer_bytes, 3 * 16 * 4);
}

// 58 layers of 256 experts, and rounds of 8 M tokens, beside 14 M values.
TEST_F(RoutedRoundTest, TheCountersOfTheLargestModelAreASmallShareOfItsAdapter) {
  const RoutingShape large = {
      .layers = 58, .experts = 256, .choices = 8, .most_tokens = 100 * 20 * 4096};
  for (const RingBits ring : {RingBits::k16, RingBits::k24, RingBits::k32}) {
    SecurePlan secure = plan_.secure;
    secure.ring = ring;
    secure.max_cohort = 200;
    const MaskedLayout layout = *MaskedLayoutOf(secure, 14'000'000, large);
    EXPECT_LT(static_cast<double>(layout.limb_count()),
              0.01 * static_cast<double>(layout.value_count()));
  }
}

}  // namespace
}  // namespace fedtune
