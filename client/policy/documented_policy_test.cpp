// SPDX-License-Identifier: Apache-2.0

#include "client/policy/policy.h"
#include "gmock/gmock.h"
#include "tests/support/documented_examples.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::DocumentedExamples;
using ::fedtune::testing::IsOk;
using ::testing::SizeIs;

TEST(DocumentedPolicyTest, IsAPolicy) {
  const auto examples = DocumentedExamples("docs/POLICY.md");
  ASSERT_THAT(examples, SizeIs(1));
  const auto policy = ParsePolicy(examples[0], "docs/POLICY.md");
  ASSERT_THAT(policy, IsOk());
  EXPECT_EQ(policy->secure_aggregation, SecureAggregation::kRequired);
  EXPECT_EQ(policy->hours.ToString(), "20:00-06:00");
}

}  // namespace
}  // namespace fedtune
