// SPDX-License-Identifier: Apache-2.0

#include "client/training/brief_spinning.h"

#include "gmock/gmock.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;

TEST(BriefSpinningTest, AddsTheCountToAnEnvironmentThatHasNone) {
  EXPECT_THAT(*WithBriefSpinning({"HOME=/root", "MY_OMP_WAIT_POLICY=active"}),
              ElementsAre("HOME=/root", "MY_OMP_WAIT_POLICY=active", "GOMP_SPINCOUNT=3000"));
}

TEST(BriefSpinningTest, LeavesWhatTheUserChose) {
  EXPECT_EQ(WithBriefSpinning({"OMP_WAIT_POLICY=active"}), std::nullopt);
  EXPECT_EQ(WithBriefSpinning({"GOMP_SPINCOUNT=1000"}), std::nullopt);
}

TEST(BriefSpinningTest, ChangesNothingTheSecondTime) {
  EXPECT_EQ(WithBriefSpinning(*WithBriefSpinning({})), std::nullopt);
}

}  // namespace
}  // namespace fedtune
