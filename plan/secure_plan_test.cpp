// SPDX-License-Identifier: Apache-2.0

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "plan/plan.h"
#include "plan/secure_vector.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::HasSubstr;

// A plan whose aggregation is secure: [rounds] is at line 5 of it, [aggregation]
// behind it.
absl::StatusOr<Plan> Parsed(std::string_view rounds, std::string_view secure = "",
                            std::string_view aggregation = "mode = 'secure'") {
  return ParsePlan(fmt::format("name = 'icd'\nbase_model = 'm'\n[training]\nsteps = 1\n"
                               "[rounds]\ncount = 3\n{}\n[aggregation]\n{}\n[secure]\n{}\n",
                               rounds, aggregation, secure),
                   "plan.toml");
}

void ExpectRefused(const absl::StatusOr<Plan>& plan, std::string_view message) {
  EXPECT_THAT(plan, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(plan.status()), HasSubstr(message));
}

TEST(SecurePlanTest, APlanThatDoesNotSayHasTheDefaultMode) {
  const auto plan = Parsed("", "", "");
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->aggregation.mode, kDefaultAggregationMode);
}

TEST(SecurePlanTest, FillsInWhatIsLeftOpen) {
  const auto plan = Parsed("");
  ASSERT_THAT(plan, IsOk()) << plan.status();
  EXPECT_EQ(plan->aggregation.mode, AggregationMode::kSecure);
  EXPECT_EQ(plan->secure.min_cohort, 5);
  EXPECT_EQ(plan->secure.max_cohort, 200);
  EXPECT_EQ(plan->secure.assumed_corrupt, 1);
  EXPECT_EQ(plan->secure.ring, RingBits::k32);
  EXPECT_EQ(plan->secure.clip, 1);
  EXPECT_EQ(plan->secure.suite, CipherSuite::kCurve25519);
  EXPECT_EQ(plan->rounds.quorum, 5);
}

TEST(SecurePlanTest, ClosesARoundEarlyButNeverBelowItsCohort) {
  const auto plan = Parsed("quorum = 9\ncohort_size = 12\nclose_at = 10");
  ASSERT_THAT(plan, IsOk()) << plan.status();
  EXPECT_EQ(plan->rounds.close_at, 10);
  ExpectRefused(Parsed("close_at = 4"), "close_at in [rounds] is 4, below the quorum of 5");
}

TEST(SecurePlanTest, WaitsForNoMoreClientsThanItAsksInARound) {
  ExpectRefused(Parsed("quorum = 9", "max_cohort = 8"),
                "plan.toml:7: quorum in [rounds] is 9, but no more than 8 clients are asked in a "
                "round (secure.max_cohort)");
  EXPECT_THAT(Parsed("quorum = 8", "max_cohort = 8"), IsOk());
}

TEST(SecurePlanTest, ReadsEveryKey) {
  const auto plan = Parsed("quorum = 8\ncohort_size = 10",
                           "min_cohort = 6\nmax_cohort = 20\nassumed_corrupt = 2\n"
                           "ring_bits = 24\nclip = 0.05\nmax_weight = 1000\nsuite = 'p256'\n"
                           "phase_deadline = '45s'");
  ASSERT_THAT(plan, IsOk()) << plan.status();
  EXPECT_EQ(plan->secure.min_cohort, 6);
  EXPECT_EQ(plan->secure.max_cohort, 20);
  EXPECT_EQ(plan->secure.assumed_corrupt, 2);
  EXPECT_EQ(plan->secure.ring, RingBits::k24);
  EXPECT_EQ(plan->secure.clip, 0.05);
  EXPECT_EQ(plan->secure.max_weight, 1000);
  EXPECT_EQ(plan->secure.suite, CipherSuite::kNistP256);
  EXPECT_EQ(plan->secure.phase_deadline, absl::Seconds(45));
  EXPECT_EQ(plan->rounds.quorum, 8);
}

TEST(SecurePlanTest, AsksForAsManyAsTheSharesNeed) {
  const auto plan = Parsed("cohort_size = 12");
  ASSERT_THAT(plan, IsOk()) << plan.status();
  EXPECT_EQ(plan->rounds.quorum, 9);
  EXPECT_EQ(plan->secure.max_cohort, 12);
}

TEST(SecurePlanTest, ARoundAsksNoMoreClientsThanTheRingHoldsTheSumOf) {
  EXPECT_EQ(MostInCohort(*Parsed("", "max_cohort = 20")), 20);
  EXPECT_EQ(MostInCohort(*Parsed("cohort_size = 12", "max_cohort = 20")), 12);
}

TEST(SecurePlanTest, RefusesAQuorumBelowTheLeastCohort) {
  ExpectRefused(Parsed("quorum = 4"),
                "plan.toml:7: quorum in [rounds] is 4, below the 5 clients that secure");
}

TEST(SecurePlanTest, RefusesAQuorumBelowTheThreshold) {
  ExpectRefused(Parsed("quorum = 8\ncohort_size = 12"),
                "plan.toml:7: quorum in [rounds] is 8, but the masks of 12 clients come off only "
                "with the shares of 9");
  EXPECT_THAT(Parsed("quorum = 9\ncohort_size = 12"), IsOk());
}

TEST(SecurePlanTest, RefusesCohortsOfFewerThanThree) {
  ExpectRefused(Parsed("", "min_cohort = 2"), "each could subtract itself");
  EXPECT_THAT(Parsed("", "min_cohort = 3"), IsOk());
  ExpectRefused(Parsed("", "min_cohort = 1_000_000_000_000_000_000"), "must be from 3 to 10000");
}

TEST(SecurePlanTest, RefusesARoundWithTooFewClients) {
  ExpectRefused(Parsed("institutions = ['a', 'b', 'c', 'd']"),
                "plan.toml:7: institutions in [rounds] gives a round 4 clients");
  EXPECT_THAT(Parsed("institutions = ['a', 'b', 'c']", "min_cohort = 3"), IsOk());
}

TEST(SecurePlanTest, RefusesMoreClientsThanItsLargestCohort) {
  ExpectRefused(Parsed("cohort_size = 12", "max_cohort = 11"),
                "max_cohort in [secure] is 11, but 12 clients are asked");
  ExpectRefused(Parsed("", "max_cohort = 4"), "max_cohort in [secure] is 4, below the min_cohort");
}

TEST(SecurePlanTest, RefusesMoreCorruptClientsThanTheThresholdHoldsAgainst) {
  ExpectRefused(Parsed("", "assumed_corrupt = 3"),
                "assumed_corrupt in [secure] is 3, but among 5 clients the threshold of 4 shares "
                "holds against 2 at most");
  // Seven clients need 5 shares, and 2 * 5 = 7 + 3.
  ExpectRefused(Parsed("", "min_cohort = 6\nassumed_corrupt = 3"), "among 7 clients");
  EXPECT_THAT(Parsed("", "min_cohort = 8\nassumed_corrupt = 3"), IsOk());
}

TEST(SecurePlanTest, RefusesARingThatOverflows) {
  ExpectRefused(Parsed("", "ring_bits = 16\nmax_cohort = 300"),
                "ring_bits in [secure] is too small: sums of 300 clients in a ring of 16 bits "
                "leave 7 bits");
  EXPECT_THAT(Parsed("", "ring_bits = 16\nmax_cohort = 250"), IsOk());
  ExpectRefused(Parsed("", "ring_bits = 20"), "must be 16, 24 or 32");
}

TEST(SecurePlanTest, RefusesMethodsThatNeedEveryContribution) {
  for (const std::string_view method : {"flora", "krum", "median", "trimmed_mean", "fltrust"}) {
    ExpectRefused(Parsed("", "", fmt::format("mode = 'secure'\nmethod = '{}'", method)),
                  fmt::format("method in [aggregation] = \"{}\" needs every single contribution, "
                              "which mode = \"secure\" hides",
                              method));
  }
  ExpectRefused(Parsed("", "", "mode = 'plain'\nmethod = 'flora'"),
                "must be \"alternating\" or \"fedit\"");
}

TEST(SecurePlanTest, RefusesKeysThatPlainAggregationIgnores) {
  ExpectRefused(Parsed("", "clip = 1", "mode = 'plain'"),
                "clip in [secure] has no effect with mode = \"plain\"");
  ExpectRefused(Parsed("", "max_weight = 1", "mode = 'plain'"),
                "max_weight in [secure] has no effect with mode = \"plain\" in [aggregation]; the "
                "bound of plain plans is there, too");
}

TEST(SecurePlanTest, RefusesALargestWeightWhereAllWeighTheSame) {
  ExpectRefused(Parsed("", "max_weight = 10", "mode = 'secure'\nweights = 'uniform'"),
                "has no effect with weights = \"uniform\"");
  const auto plan = Parsed("", "", "mode = 'secure'\nweights = 'uniform'");
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->secure.max_weight, 1);
}

TEST(SecurePlanTest, RefusesDeadlinesAndSuitesThatAreNone) {
  ExpectRefused(Parsed("", "phase_deadline = '25h'"), "must be from \"1s\" to \"24h\"");
  ExpectRefused(Parsed("", "suite = 'rsa'"), "must be \"curve25519\" or \"p256\"");
}

TEST(ContributionWeightTest, EndsAtTheLargestWeightOfAPlainPlan) {
  Plan plan;
  plan.secure.max_weight = 7;
  plan.aggregation.mode = AggregationMode::kPlain;
  EXPECT_EQ(ContributionWeight(plan, int64_t{1} << 40), int64_t{1} << 40) << "no bound";
  plan.aggregation.max_weight = 100;
  EXPECT_EQ(ContributionWeight(plan, 99), 99);
  EXPECT_EQ(ContributionWeight(plan, int64_t{1} << 40), 100);
}

TEST(ContributionWeightTest, EndsAtTheLargestWeightOfASecurePlan) {
  Plan plan;
  plan.secure.max_weight = 100;
  plan.aggregation.mode = AggregationMode::kSecure;
  EXPECT_EQ(ContributionWeight(plan, 99), 99);
  EXPECT_EQ(ContributionWeight(plan, 101), 100);
  plan.aggregation.mode = AggregationMode::kPlain;
  EXPECT_EQ(ContributionWeight(plan, 101), 101);
  plan.aggregation.weights = ContributionWeights::kUniform;
  EXPECT_EQ(ContributionWeight(plan, 101), 1);
}

TEST(MaskedLayoutOfTest, HasTheValuesAndTheCounters) {
  const auto plan = Parsed("", "ring_bits = 24\nmax_weight = 500");
  ASSERT_THAT(plan, IsOk());
  const auto layout = MaskedLayoutOf(plan->secure, 1000,
                                     {.layers = 2, .experts = 8, .choices = 2, .most_tokens = 64});
  ASSERT_THAT(layout, IsOk());
  EXPECT_EQ(layout->value_count(), 1000);
  EXPECT_EQ(layout->quantizer().settings().max_cohort, 200);
  EXPECT_EQ(layout->counters().size(), RoundCounters(500).size() + 16);
}

}  // namespace
}  // namespace fedtune
