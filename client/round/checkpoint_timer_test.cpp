// SPDX-License-Identifier: Apache-2.0

#include "client/round/checkpoint_timer.h"

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace fedtune {
namespace {

class CheckpointTimerTest : public ::testing::Test {
 protected:
  absl::Duration Work(absl::Duration piece) {
    timer_.Begin();
    clock_.Advance(piece);
    return timer_.End();
  }

  testing::FakeClock clock_;
  CheckpointTimer timer_{clock_, absl::Minutes(1)};
};

TEST_F(CheckpointTimerTest, IsDueBeforeAPieceThatWouldEndTooLate) {
  const absl::Duration step = absl::Seconds(7);
  for (int i = 0; i < 8; ++i) {
    EXPECT_FALSE(timer_.Due(step));
    EXPECT_EQ(Work(step), step);
  }
  EXPECT_TRUE(timer_.Due(step)) << "56 s are done, and 63 would be lost";
  EXPECT_FALSE(timer_.Due(absl::Seconds(4)));
  timer_.Kept();
  EXPECT_FALSE(timer_.Due(step));
}

TEST_F(CheckpointTimerTest, IsDueAfterEachPieceThatIsLongerThanTheInterval) {
  for (int i = 0; i < 3; ++i) {
    Work(absl::Minutes(5));
    EXPECT_TRUE(timer_.Due(absl::Minutes(5)));
    timer_.Kept();
    EXPECT_FALSE(timer_.Due(absl::Minutes(5))) << "there is nothing to keep";
  }
}

TEST_F(CheckpointTimerTest, DoesNotCountTheTimeBetweenPieces) {
  Work(absl::Seconds(10));
  clock_.Advance(absl::Hours(8));
  Work(absl::Seconds(10));
  EXPECT_FALSE(timer_.Due(absl::Seconds(10)));
}

TEST_F(CheckpointTimerTest, IsNeverDueWithoutAnInterval) {
  timer_ = CheckpointTimer(clock_, absl::ZeroDuration());
  Work(absl::Hours(1));
  EXPECT_FALSE(timer_.Due(absl::Hours(1)));
  timer_ = CheckpointTimer();
  Work(absl::Hours(1));
  EXPECT_FALSE(timer_.Due(absl::Hours(1)));
}

}  // namespace
}  // namespace fedtune
