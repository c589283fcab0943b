// SPDX-License-Identifier: Apache-2.0

#include "client/policy/policy.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "plan/adapter_targets.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kOurs = "sha256:" + std::string(64, 'a');
const std::string kOther = "sha256:" + std::string(64, 'b');

// One attention layer, one dense layer, one routed expert.
BaseModelDescription Model() {
  BaseModelDescription model;
  model.name = "lite";
  model.digest = kOurs;
  model.experts_per_token = 2;
  model.linear_layers = {{"model.layers.0.self_attn.q_proj", LayerKind::kAttention, 8, 8},
                         {"model.layers.0.mlp.up_proj", LayerKind::kDenseMlp, 8, 16},
                         {"model.layers.1.mlp.experts.0.up_proj", LayerKind::kRoutedExpert, 8, 16}};
  return model;
}

// A plan and what it trains on Model().
class PolicyDecisionTest : public ::testing::Test {
 protected:
  PolicyDecisionTest() {
    plan_.adapter.rank = 8;
    plan_.adapter.targets = {"attention"};
    plan_.aggregation.mode = AggregationMode::kPlain;
    plan_.rounds.count = 10;
    plan_.rounds.quorum = 3;
  }

  void BeSecure(SecurePlan secure) {
    plan_.aggregation.mode = AggregationMode::kSecure;
    plan_.secure = secure;
    plan_.rounds.quorum = secure.min_cohort;
  }
  Decision Decided(std::string_view earlier_digest = {}) const {
    const AdapterLayout layout = *ResolveTargets(model_, plan_.adapter);
    return Decide(policy_, {plan_, layout, model_, earlier_digest});
  }
  std::string Reason() const {
    EXPECT_FALSE(Decided().accepted);
    return Decided().reason;
  }

  const BaseModelDescription model_ = Model();
  Plan plan_;
  Policy policy_;
};

TEST_F(PolicyDecisionTest, AnEmptyPolicyAllowsEveryRun) { EXPECT_TRUE(Decided().accepted); }

TEST_F(PolicyDecisionTest, AllowsTheBaseModelsItNames) {
  policy_.base_models = {kOther, kOurs};
  EXPECT_TRUE(Decided().accepted);
}

TEST_F(PolicyDecisionTest, AllowsABaseModelByItsEarlierDigest) {
  const std::string earlier = "sha256:e0";
  policy_.base_models = {earlier};
  EXPECT_FALSE(Decided().accepted);
  EXPECT_TRUE(Decided(earlier).accepted);
}

TEST_F(PolicyDecisionTest, DeclinesAnotherBaseModel) {
  policy_.base_models = {kOther};
  EXPECT_EQ(Reason(), "base model " + kOurs + " is not in its policy");
}

TEST_F(PolicyDecisionTest, AllowsTargetsByGroup) {
  policy_.targets = {"attention", "shared_experts"};
  EXPECT_TRUE(Decided().accepted);
}

TEST_F(PolicyDecisionTest, AllowsTargetsByLeafName) {
  policy_.targets = {"q_proj"};
  EXPECT_TRUE(Decided().accepted);
}

TEST_F(PolicyDecisionTest, DeclinesALayerOutsideItsTargets) {
  policy_.targets = {"attention"};
  plan_.adapter.targets = {"attention", "dense_mlp"};
  EXPECT_EQ(Reason(),
            "the run trains model.layers.0.mlp.up_proj, and its policy allows only attention");
}

TEST_F(PolicyDecisionTest, DeclinesRoutedExpertsByTheNameOfADenseLayer) {
  policy_.targets = {"attention", "dense_mlp"};
  plan_.adapter.targets = {"routed_experts"};
  EXPECT_THAT(Reason(), HasSubstr("experts.0.up_proj"));
}

TEST_F(PolicyDecisionTest, TargetsThatAreNotInTheModelAllowNothing) {
  policy_.targets = {"v_proj"};
  EXPECT_THAT(Reason(), HasSubstr("its policy allows only v_proj"));
}

TEST_F(PolicyDecisionTest, DeclinesAHigherRank) {
  policy_.max_rank = 8;
  EXPECT_TRUE(Decided().accepted);
  policy_.max_rank = 7;
  EXPECT_THAT(Reason(), HasSubstr("with rank 8, and its policy allows at most 7"));
}

TEST_F(PolicyDecisionTest, DeclinesMoreRounds) {
  policy_.max_rounds = 10;
  EXPECT_TRUE(Decided().accepted);
  policy_.max_rounds = 9;
  EXPECT_EQ(Reason(), "the plan has 10 rounds, and its policy allows at most 9");
}

TEST_F(PolicyDecisionTest, DeclinesASmallerQuorum) {
  policy_.min_cohort = 3;
  EXPECT_TRUE(Decided().accepted);
  policy_.min_cohort = 4;
  EXPECT_THAT(Reason(), HasSubstr("releases rounds of 3 contributions"));
}

TEST_F(PolicyDecisionTest, DeclinesPlainRunsWhenAggregationMustBeSecure) {
  policy_.secure_aggregation = SecureAggregation::kRequired;
  EXPECT_THAT(Reason(), HasSubstr("requires secure aggregation; set aggregation.mode"));
  BeSecure({.min_cohort = 5, .assumed_corrupt = 1});
  EXPECT_TRUE(Decided().accepted);
}

TEST_F(PolicyDecisionTest, AnEmptyPolicyAsksForFiveClientsOfASecureRun) {
  BeSecure({.min_cohort = 4, .assumed_corrupt = 1});
  EXPECT_EQ(Reason(),
            "the plan releases sums of 4 contributions, and its policy asks for at least 5; raise "
            "secure.min_cohort, or lower the policy's min_cohort (3 at least)");
  BeSecure({.min_cohort = 5, .assumed_corrupt = 1});
  EXPECT_TRUE(Decided().accepted);
}

TEST_F(PolicyDecisionTest, NoPolicyAllowsSecureRunsOfTwo) {
  policy_.min_cohort = 1;
  BeSecure({.min_cohort = 2, .assumed_corrupt = 0});
  EXPECT_THAT(Reason(), HasSubstr("releases sums of 2 contributions, and its policy asks for at "
                                  "least 3"));
  BeSecure({.min_cohort = 3, .assumed_corrupt = 0});
  EXPECT_TRUE(Decided().accepted);
}

TEST_F(PolicyDecisionTest, ASecureRunsQuorumCountsAsWell) {
  policy_.min_cohort = 6;
  BeSecure({.min_cohort = 6, .assumed_corrupt = 0});
  EXPECT_TRUE(Decided().accepted);
  plan_.rounds.quorum = 5;
  EXPECT_THAT(Reason(), HasSubstr("releases sums of 5 contributions"));
}

TEST_F(PolicyDecisionTest, DeclinesASecureRunThatTrustsTooMany) {
  policy_.assumed_corrupt = 2;
  BeSecure({.min_cohort = 5, .assumed_corrupt = 1});
  EXPECT_THAT(Reason(), HasSubstr("holds against 1 clients on the coordinator's side, and its "
                                  "policy asks for at least 2; raise secure.assumed_corrupt"));
  BeSecure({.min_cohort = 5, .assumed_corrupt = 2});
  EXPECT_TRUE(Decided().accepted);
}

// ---- policy.toml ----

std::string ProblemWith(std::string_view toml) {
  const auto policy = ParsePolicy(toml, "policy.toml");
  EXPECT_THAT(policy, HasCode(absl::StatusCode::kInvalidArgument));
  return std::string(Message(policy.status()));
}

TEST(PolicyFileTest, MayBeEmpty) {
  const auto policy = ParsePolicy("", "policy.toml");
  ASSERT_THAT(policy, IsOk());
  EXPECT_THAT(policy->base_models, IsEmpty());
  EXPECT_EQ(policy->hours, Hours());
}

TEST(PolicyFileTest, IsReadWhole) {
  const auto policy = ParsePolicy(
      "base_models = [\"" + kOurs +
          "\"]\ntargets = [\"attention\"]\nmax_rank = 32\nmax_rounds = 500\nmin_cohort = 3\n"
          "assumed_corrupt = 2\nsecure_aggregation = \"required\"\nhours = \"20:00-06:00\"\n",
      "policy.toml");
  ASSERT_THAT(policy, IsOk());
  EXPECT_THAT(policy->base_models, ElementsAre(kOurs));
  EXPECT_THAT(policy->targets, ElementsAre("attention"));
  EXPECT_EQ(policy->max_rank, 32);
  EXPECT_EQ(policy->max_rounds, 500);
  EXPECT_EQ(policy->min_cohort, 3);
  EXPECT_EQ(policy->assumed_corrupt, 2);
  EXPECT_EQ(policy->secure_aggregation, SecureAggregation::kRequired);
  EXPECT_EQ(policy->hours.ToString(), "20:00-06:00");
}

TEST(PolicyFileTest, SaysWhichKeyWasProbablyMeant) {
  EXPECT_EQ(ProblemWith("max_ranks = 3\n"),
            "policy.toml:1: unknown key \"max_ranks\"; did you mean max_rank?");
}

TEST(PolicyFileTest, RefusesADigestThatIsNone) {
  EXPECT_THAT(ProblemWith("base_models = [\"deepseek-v2-lite\"]\n"),
              AllOf(HasSubstr("policy.toml:1"), HasSubstr("fedtune-client base digest")));
}

TEST(PolicyFileTest, RefusesADigestWithoutItsKind) {
  EXPECT_THAT(ProblemWith("base_models = [\"" + std::string(64, 'a') + "\"]\n"),
              HasSubstr("is not a digest"));
}

// All would be allowed, and whoever has written it may have meant none.
TEST(PolicyFileTest, RefusesListsThatNameNothing) {
  for (const std::string key : {"base_models", "targets"}) {
    EXPECT_EQ(ProblemWith(key + " = []\n"),
              "policy.toml:1: " + key + " must name at least one; to allow all, leave the key out");
  }
}

TEST(PolicyFileTest, RefusesARankOfZero) {
  EXPECT_THAT(ProblemWith("max_rank = 0\n"), HasSubstr("max_rank must be at least 1"));
}

TEST(PolicyFileTest, RefusesZeroRounds) {
  EXPECT_THAT(ProblemWith("max_rounds = 0\n"), HasSubstr("max_rounds must be at least 1"));
}

TEST(PolicyFileTest, RefusesAnEmptyCohort) {
  EXPECT_THAT(ProblemWith("min_cohort = -2\n"), HasSubstr("min_cohort must be at least 1"));
}

TEST(PolicyFileTest, RefusesHoursThatAreNone) {
  EXPECT_THAT(ProblemWith("hours = \"at night\"\n"), HasSubstr("not a window of the day"));
}

TEST(PolicyFileTest, RefusesAnUnknownWishForSecureAggregation) {
  EXPECT_THAT(ProblemWith("secure_aggregation = \"yes\"\n"),
              HasSubstr("must be \"optional\" or \"required\""));
}

}  // namespace
}  // namespace fedtune
