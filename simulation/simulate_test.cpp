// SPDX-License-Identifier: Apache-2.0

#include "base/status.h"
#include "client/round/base_model_shelf.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "plan/adapter_targets.h"
#include "simulation/report.h"
#include "simulation/simulation.h"
#include "simulation/state_folder.h"
#include "tests/support/status_matchers.h"

namespace fedtune::simulation {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kBaseModel[] = "examples/base_model/icd-moe";

SimulatedPlan PlanOf(std::string_view rounds, std::string_view aggregation) {
  SimulatedPlan plan{.toml = fmt::format("name = 'trial'\nbase_model = 'icd-moe'\n"
                                         "[adapter]\nrank = 1\nalpha = 2\ntargets = ['q_proj']\n"
                                         "[training]\nsteps = 1\n[rounds]\ncount = 2\n"
                                         "deadline = '10m'\n{}\n[aggregation]\n"
                                         "method = 'fedit'\n{}\n",
                                         rounds, aggregation),
                     .plan = {},
                     .base_model = ReadBaseModel(kBaseModel)->description,
                     .base_folder = kBaseModel,
                     .layout = {}};
  plan.plan = *ParsePlan(plan.toml, "plan.toml");
  plan.layout = *ResolveTargets(plan.base_model, plan.plan.adapter);
  return plan;
}

SimulatedPlan PlainPlan(std::string_view rounds = "quorum = 5") {
  return PlanOf(rounds, "mode = 'plain'");
}

class SimulationTest : public ::testing::Test {
 protected:
  absl::StatusOr<SimulationReport> Played(const SimulatedPlan& plan, int64_t clients,
                                          uint64_t seed = 1, double dropout = 0) {
    const auto folder = StateFolder::Make(std::nullopt);
    if (!folder.ok()) return folder.status();
    return Simulate(plan,
                    {.clients = clients,
                     .seed = seed,
                     .dropout = dropout,
                     .training = absl::Minutes(2),
                     .state = folder->path()},
                    {}, [](const RoundReport&) {});
  }
};

TEST_F(SimulationTest, EveryClientOfAPlainRunContributesAndTheLossFalls) {
  const auto report = Played(PlainPlan(), 30);
  ASSERT_THAT(report, IsOk()) << Message(report.status());
  EXPECT_EQ(report->state, "finished");
  ASSERT_THAT(report->rounds, SizeIs(2));
  for (const RoundReport& round : report->rounds) {
    EXPECT_EQ(round.cohort, 30);
    EXPECT_EQ(round.contributions, 30);
    EXPECT_LT(round.duration, absl::Minutes(10));
    EXPECT_GT(round.bytes_up, 4096);
    EXPECT_GT(round.bytes_down, 4096);
  }
  EXPECT_LT(report->rounds[1].training_loss, report->rounds[0].training_loss);
}

TEST_F(SimulationTest, TheCohortIsThePlans) {
  const auto report = Played(PlainPlan("quorum = 5\ncohort_size = 12"), 30);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->rounds[0].cohort, 12);
}

TEST_F(SimulationTest, WhoIsCutOffForLongDropsOut) {
  const auto report = Played(PlainPlan(), 200, 3, 0.5);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->state, "finished");
  EXPECT_LT(report->rounds[0].contributions, report->rounds[0].cohort);
  EXPECT_GE(report->rounds[0].duration, absl::Minutes(10));
}

TEST_F(SimulationTest, ASeedIsPlayedAgainExactlyAndAnotherOneIsAnother) {
  for (const SimulatedPlan& plan :
       {PlainPlan(), PlanOf("quorum = 8", "mode = 'secure'\n[secure]\nmax_cohort = 12")}) {
    const auto first = Played(plan, 12, 7, 0.1);
    const auto again = Played(plan, 12, 7, 0.1);
    const auto other = Played(plan, 12, 8, 0.1);
    ASSERT_THAT(first, IsOk());
    ASSERT_THAT(again, IsOk());
    ASSERT_THAT(other, IsOk());
    ASSERT_EQ(first->rounds.size(), again->rounds.size());
    ASSERT_FALSE(first->rounds.empty());
    for (size_t i = 0; i < first->rounds.size(); ++i) {
      EXPECT_EQ(JsonLine(first->rounds[i]), JsonLine(again->rounds[i]));
    }
    EXPECT_NE(JsonLine(first->rounds[0]), JsonLine(other->rounds[0]));
  }
}

TEST_F(SimulationTest, FiftyClientsAggregateSecurely) {
  const auto report =
      Played(PlanOf("quorum = 35", "mode = 'secure'\n[secure]\nmax_cohort = 50"), 50, 1, 0.02);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->state, "finished");
  ASSERT_THAT(report->rounds, SizeIs(2));
  EXPECT_EQ(report->rounds[0].cohort, 50);
  EXPECT_GE(report->rounds[0].contributions, 35);
}

TEST_F(SimulationTest, ThreeClientsAreEnoughWhereThePlanSaysSo) {
  const auto report =
      Played(PlanOf("quorum = 3", "mode = 'secure'\n[secure]\nmin_cohort = 3\nmax_cohort = 3"), 3);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->rounds.at(1).contributions, 3);
}

TEST_F(SimulationTest, OfMoreClientsThanASecureRoundMayHaveItDrawsAsManyAsItMay) {
  const auto report = Played(PlanOf("quorum = 5", "mode = 'secure'\n[secure]\nmax_cohort = 6"), 50);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->state, "finished");
  EXPECT_EQ(report->rounds.at(1).cohort, 6);
  EXPECT_GE(report->rounds.at(1).contributions, 5);
}

TEST_F(SimulationTest, ARunThatLosesItsQuorumSaysWhoIsMissingInAFewWords) {
  const auto report = Played(PlainPlan("quorum = 60"), 60, 1, 1);
  ASSERT_THAT(report, IsOk());
  EXPECT_EQ(report->state, "failed");
  EXPECT_THAT(report->reason, HasSubstr("others"));
  EXPECT_LT(report->reason.size(), 2000);
}

TEST(RoundReportTest, ARoundThatBurntSaysWhyAndHasNoLoss) {
  const RoundReport round{.round = 2, .attempt = 1, .cohort = 5, .burnt = "too few agreed"};
  EXPECT_THAT(TableLine(round), HasSubstr(" -\n      burnt: too few agreed\n"));
  const auto json = nlohmann::json::parse(JsonLine(round));
  EXPECT_EQ(json.at("burnt"), "too few agreed");
  EXPECT_TRUE(json.at("training_loss").is_null());
}

TEST(RoundReportTest, ARoundThatCountsHasALoss) {
  const auto json = nlohmann::json::parse(JsonLine({.training_loss = 0.5}));
  EXPECT_EQ(json.at("training_loss"), 0.5);
  EXPECT_FALSE(json.contains("burnt"));
}

TEST_F(SimulationTest, DoesNotStartWithoutAQuorum) {
  const auto report = Played(PlainPlan(), 4);
  EXPECT_THAT(report, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(report.status()), HasSubstr("the plan's quorum is 5"));
}

// The product's bound of a transition is 1 ms on a quiet machine: see bench/run.sh.
TEST_F(SimulationTest, TwoThousandClientsCostEachAsMuchAsFiveHundred) {
  const auto few = Played(PlainPlan(), 500);
  const auto many = Played(PlainPlan(), 2000, 1, 0.02);
  ASSERT_THAT(few, IsOk());
  ASSERT_THAT(many, IsOk());
  EXPECT_EQ(many->state, "finished");
  EXPECT_GT(many->transitions, 2000 * 4);
  EXPECT_LT(many->transition_p99, absl::Milliseconds(10));
#ifndef FEDTUNE_UNDER_SANITIZER  // Sanitizers have a memory of their own.
  EXPECT_LT(many->bytes_per_client, 2 * few->bytes_per_client + (64 << 10));
#endif
}

}  // namespace
}  // namespace fedtune::simulation
