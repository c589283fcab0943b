// SPDX-License-Identifier: Apache-2.0

#include "client/round/assignment_check.h"

#include <limits>

#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;

constexpr auto kRefused = absl::StatusCode::kInvalidArgument;

Plan PlanOf(AggregationMethod method) {
  Plan plan;
  plan.rounds.count = 3;
  plan.aggregation.method = method;
  return plan;
}

absl::Status Check(const Assignment& assignment,
                   AggregationMethod method = AggregationMethod::kFedit) {
  return CheckAssignment(assignment, PlanOf(method));
}

TEST(AssignmentCheckTest, TakesThePlansRoundsAndTheEvaluationAfterThem) {
  EXPECT_THAT(Check({.id = {.run = "run-1", .round = 0}, .evaluate = true}), IsOk());
  EXPECT_THAT(Check({.id = {.run = "run-1", .round = 2}}), IsOk());
  EXPECT_THAT(Check({.id = {.run = "run-1", .round = 3}, .evaluate = true, .evaluate_only = true}),
              IsOk());
}

TEST(AssignmentCheckTest, RefusesARoundAfterTheLast) {
  const absl::Status refused = Check({.id = {.run = "run-1", .round = 3}});
  EXPECT_THAT(refused, HasCode(kRefused));
  EXPECT_THAT(Message(refused), HasSubstr("round 4 of a plan with 3"));
}

TEST(AssignmentCheckTest, RefusesARoundThatNoPlanHas) {
  for (const int64_t round :
       {int64_t{1} << 60, int64_t{1} << 62, std::numeric_limits<int64_t>::max(), int64_t{-1}}) {
    EXPECT_THAT(Check({.id = {.run = "run-1", .round = round}}), HasCode(kRefused)) << round;
  }
}

TEST(AssignmentCheckTest, RefusesAnEvaluationAfterTheLast) {
  EXPECT_THAT(Check({.id = {.run = "run-1", .round = 4}, .evaluate_only = true}),
              HasCode(kRefused));
}

TEST(AssignmentCheckTest, RefusesAnEvaluationInPlaceOfARound) {
  EXPECT_THAT(Check({.id = {.run = "run-1", .round = 2}, .evaluate_only = true}),
              HasCode(kRefused));
}

// Whoever alone evaluates is alone in the secure sums of losses and right answers.
TEST(AssignmentCheckTest, RefusesAnEvaluationThatThePlanHasNot) {
  const absl::Status refused = Check({.id = {.run = "run-1", .round = 1}, .evaluate = true});
  EXPECT_THAT(refused, HasCode(kRefused));
  EXPECT_THAT(Message(refused), HasSubstr("wants an evaluation in round 2, unlike"));
}

TEST(AssignmentCheckTest, RefusesToLeaveOutAnEvaluationOfThePlan) {
  EXPECT_THAT(Check({.id = {.run = "run-1", .round = 0}}), HasCode(kRefused));
  EXPECT_THAT(Check({.id = {.run = "run-1", .round = 3}, .evaluate_only = true}),
              HasCode(kRefused));
}

TEST(AssignmentCheckTest, TakesTheEvaluationsThatThePlanWantsBetween) {
  Plan plan = PlanOf(AggregationMethod::kFedit);
  plan.evaluation.every = 2;
  EXPECT_THAT(CheckAssignment({.id = {.run = "run-1", .round = 1}}, plan), IsOk());
  EXPECT_THAT(CheckAssignment({.id = {.run = "run-1", .round = 2}, .evaluate = true}, plan),
              IsOk());
  EXPECT_THAT(CheckAssignment({.id = {.run = "run-1", .round = 2}}, plan), HasCode(kRefused));
}

TEST(AssignmentCheckTest, RefusesFactorsOfAnotherMethod) {
  EXPECT_THAT(Check({.id = {.run = "run-1"}, .factors = FactorSet::kA}), HasCode(kRefused));
  EXPECT_THAT(Check({.id = {.run = "run-1"}}, AggregationMethod::kAlternating), HasCode(kRefused));
}

TEST(AssignmentCheckTest, RefusesFactorsOfAnotherRound) {
  Assignment assignment{.id = {.run = "run-1", .round = 1}, .factors = FactorSet::kA};
  EXPECT_THAT(Check(assignment, AggregationMethod::kAlternating), IsOk());
  assignment.id.round = 2;
  EXPECT_THAT(Check(assignment, AggregationMethod::kAlternating), HasCode(kRefused));
}

}  // namespace
}  // namespace fedtune
