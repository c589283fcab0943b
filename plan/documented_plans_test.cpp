// SPDX-License-Identifier: Apache-2.0

#include "gmock/gmock.h"
#include "plan/plan.h"
#include "tests/support/documented_examples.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::DocumentedExamples;
using ::fedtune::testing::IsOk;
using ::testing::SizeIs;

constexpr char kPage[] = "docs/PLAN.md";

TEST(DocumentedPlansTest, TheSecureOneIsAPlan) {
  const auto examples = DocumentedExamples(kPage);
  ASSERT_THAT(examples, SizeIs(2));
  const auto plan = ParsePlan(examples[0], kPage);
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->aggregation.mode, AggregationMode::kSecure);
  EXPECT_EQ(plan->adapter.rank_pattern.front().first, R"(layers\.[0-3]\.self_attn\..*)");
}

TEST(DocumentedPlansTest, TheAsynchronousOneIsAPlan) {
  const auto examples = DocumentedExamples(kPage);
  ASSERT_THAT(examples, SizeIs(2));
  const auto plan = ParsePlan(examples[1], kPage);
  ASSERT_THAT(plan, IsOk());
  EXPECT_TRUE(plan->rounds.asynchronous);
}

// The page's table says so of each.
TEST(DocumentedPlansTest, LeftOutKeysHaveTheDefaultsOfThePage) {
  const auto plan =
      ParsePlan("name = \"a\"\nbase_model = \"b\"\n[training]\nsteps = 1\n[rounds]\ncount = 1\n",
                "plan.toml");
  ASSERT_THAT(plan, IsOk());
  EXPECT_EQ(plan->adapter.rank, 16);
  EXPECT_EQ(plan->adapter.alpha, 32);
  EXPECT_EQ(plan->training.batch_size, 8);
  EXPECT_EQ(plan->training.learning_rate, 2e-4);
  EXPECT_EQ(plan->training.max_gradient_norm, 1);
  EXPECT_EQ(plan->training.sequence_length, 512);
  EXPECT_EQ(plan->rounds.quorum, 5);
  EXPECT_EQ(plan->rounds.deadline, absl::Hours(6));
  EXPECT_EQ(plan->rounds.max_staleness, 4);
  EXPECT_EQ(plan->aggregation.mode, AggregationMode::kSecure);
  EXPECT_EQ(plan->aggregation.method, AggregationMethod::kAlternating);
  EXPECT_EQ(plan->secure.min_cohort, 5);
  EXPECT_EQ(plan->secure.max_cohort, 200);
  EXPECT_EQ(plan->secure.assumed_corrupt, 1);
  EXPECT_EQ(plan->secure.max_weight, 65'536);
  EXPECT_EQ(plan->secure.phase_deadline, absl::Minutes(2));
  EXPECT_EQ(plan->server.learning_rate, 1);
  EXPECT_EQ(plan->server.beta1, 0.9);
  EXPECT_EQ(plan->server.beta2, 0.99);
  EXPECT_EQ(plan->server.epsilon, 1e-5);
}

}  // namespace
}  // namespace fedtune
