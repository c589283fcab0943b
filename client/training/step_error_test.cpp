// SPDX-License-Identifier: Apache-2.0

#include "client/training/step_error.h"

#include "base/status.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(StepErrorTest, NamesTheStepToWhoMayKnowIt) {
  const absl::Status error = InStep(7, absl::InternalError("the loss is infinite"));
  EXPECT_TRUE(absl::IsInternal(error));
  EXPECT_EQ(Message(error), "step 7: the loss is infinite");
}

TEST(StepErrorTest, TheStepCanBeLeftOut) {
  const absl::Status error = WithoutStep(InStep(7, absl::InternalError("the loss is infinite")));
  EXPECT_TRUE(absl::IsInternal(error));
  EXPECT_EQ(Message(error), "the loss is infinite");
}

TEST(StepErrorTest, OtherErrorsStayAsTheyAre) {
  const absl::Status error = absl::InternalError("step 7 of the stairs");
  EXPECT_EQ(WithoutStep(error), error);
}

}  // namespace
}  // namespace fedtune
