// SPDX-License-Identifier: Apache-2.0

#include "plan/sequence_length.h"

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

BaseModelDescription Taking(int64_t tokens) {
  BaseModelDescription model;
  model.name = "icd-moe";
  model.context_length = tokens;
  return model;
}

TEST(SequenceLengthTest, IsAtMostTheModelsContext) {
  const TrainingPlan plan{.sequence_length = 512};
  EXPECT_THAT(CheckSequenceLength(plan, Taking(512)), IsOk());
  const absl::Status longer = CheckSequenceLength(plan, Taking(511));
  EXPECT_THAT(longer, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(longer.message(), "the plan has sequences of 512 tokens, and icd-moe takes 511");
}

TEST(SequenceLengthTest, IsFreeWhereTheModelDoesNotSay) {
  EXPECT_THAT(CheckSequenceLength({.sequence_length = 1 << 20}, Taking(0)), IsOk());
}

}  // namespace
}  // namespace fedtune
