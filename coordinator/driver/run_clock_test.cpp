// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/run_clock.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

absl::Duration At(int64_t seconds) { return absl::Seconds(seconds); }

TEST(RunClockTest, GoesWithTheClockThatNeverJumps) {
  const RunClock clock;
  EXPECT_EQ(clock.At(At(0)), At(0));
  EXPECT_EQ(clock.At(At(100)), At(100));
  EXPECT_EQ(clock.WhenItIs(At(100)), At(100));
  EXPECT_FALSE(clock.StandsStill(At(0)));
}

TEST(RunClockTest, StandsStillForASpanAndGoesOn) {
  RunClock clock;
  clock.StandStill(At(100), absl::Seconds(10));
  EXPECT_TRUE(clock.StandsStill(At(109)));
  EXPECT_EQ(clock.At(At(105)), At(100));
  EXPECT_FALSE(clock.StandsStill(At(110)));
  EXPECT_EQ(clock.At(At(110)), At(100));
  EXPECT_EQ(clock.At(At(150)), At(140));
  EXPECT_EQ(clock.WhenItIs(At(140)), At(150));
}

TEST(RunClockTest, StandsStillForLongerWhenItIsAskedToMeanwhile) {
  RunClock clock;
  clock.StandStill(At(100), absl::Seconds(10));
  clock.StandStill(At(105), absl::Seconds(10));
  clock.StandStill(At(106), absl::Seconds(1));
  EXPECT_EQ(clock.At(At(114)), At(100));
  EXPECT_EQ(clock.At(At(116)), At(101));
}

TEST(RunClockTest, AllSpansCount) {
  RunClock clock;
  clock.StandStill(At(100), absl::Seconds(10));
  clock.StandStill(At(200), absl::Seconds(10));
  EXPECT_EQ(clock.At(At(205)), At(190));
  EXPECT_EQ(clock.At(At(300)), At(280));
  EXPECT_EQ(clock.WhenItIs(At(280)), At(300));
}

}  // namespace
}  // namespace fedtune
