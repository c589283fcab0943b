// SPDX-License-Identifier: Apache-2.0

#include "cli/watch_pace.h"

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace fedtune {
namespace {

class WatchPaceTest : public ::testing::Test {
 protected:
  testing::FakeClock clock_;
  WatchPace pace_{clock_, {.soonest = absl::Seconds(5), .latest = absl::Minutes(1)}};
};

TEST_F(WatchPaceTest, DrawsNewsNotTooOftenAndSilenceNowAndThen) {
  pace_.Heard();
  EXPECT_TRUE(pace_.IsDue());
  pace_.Heard();
  clock_.Advance(absl::Seconds(4));
  EXPECT_FALSE(pace_.IsDue());
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(pace_.IsDue());
  clock_.Advance(absl::Seconds(59));
  EXPECT_FALSE(pace_.IsDue());
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(pace_.IsDue());
  pace_.DrawAnew();
  EXPECT_TRUE(pace_.IsDue());
}

TEST_F(WatchPaceTest, WaitsTenMinutesForACoordinatorThatIsAway) {
  pace_.Heard();
  EXPECT_FALSE(pace_.is_lost());
  EXPECT_TRUE(pace_.Lose());
  EXPECT_FALSE(pace_.Lose());
  clock_.Advance(absl::Minutes(10) - absl::Seconds(1));
  EXPECT_FALSE(pace_.has_waited_enough());
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(pace_.has_waited_enough());
  pace_.Heard();
  EXPECT_FALSE(pace_.is_lost());
  EXPECT_FALSE(pace_.has_waited_enough());
}

TEST_F(WatchPaceTest, DoesNotHeedWhoSetsTheTimeOfDay) {
  pace_.Heard();
  ASSERT_TRUE(pace_.IsDue());
  pace_.Lose();
  clock_.SetTimeOfDay(absl::Hours(1));
  EXPECT_FALSE(pace_.has_waited_enough());
  EXPECT_FALSE(pace_.IsDue());
  clock_.SetTimeOfDay(-absl::Hours(24));
  clock_.Advance(absl::Minutes(10));
  EXPECT_EQ(pace_.since_heard(), absl::Minutes(10));
  EXPECT_TRUE(pace_.has_waited_enough());
  EXPECT_TRUE(pace_.IsDue());
}

TEST(PatienceTest, LastsAsLongWhateverTheTimeOfDay) {
  testing::FakeClock clock;
  const Patience patience(clock, absl::Seconds(20));
  clock.Advance(absl::Seconds(19));
  EXPECT_FALSE(patience.is_over());
  clock.SetTimeOfDay(-absl::Hours(1));
  clock.Advance(absl::Seconds(1));
  EXPECT_TRUE(patience.is_over());
}

}  // namespace
}  // namespace fedtune
