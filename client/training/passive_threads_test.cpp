// SPDX-License-Identifier: Apache-2.0

#include "client/training/passive_threads.h"

#include "gmock/gmock.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;

TEST(PassiveThreadsTest, AddsThePolicyToAnEnvironmentThatHasNone) {
  EXPECT_THAT(*WithPassiveWaiting({"HOME=/root", "MY_OMP_WAIT_POLICY=active"}),
              ElementsAre("HOME=/root", "MY_OMP_WAIT_POLICY=active", "OMP_WAIT_POLICY=passive"));
}

TEST(PassiveThreadsTest, LeavesWhatTheUserChose) {
  EXPECT_EQ(WithPassiveWaiting({"OMP_WAIT_POLICY=active"}), std::nullopt);
  EXPECT_EQ(WithPassiveWaiting({"GOMP_SPINCOUNT=1000"}), std::nullopt);
}

TEST(PassiveThreadsTest, ChangesNothingTheSecondTime) {
  EXPECT_EQ(WithPassiveWaiting(*WithPassiveWaiting({})), std::nullopt);
}

}  // namespace
}  // namespace fedtune
