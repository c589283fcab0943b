// SPDX-License-Identifier: Apache-2.0

#include "coordinator/running_clock.h"

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace fedtune {
namespace {

using testing::FakeClock;

// So seldom that only the tests look.
constexpr absl::Duration kLooksEvery = absl::Hours(1);

class RunningClockTest : public ::testing::Test {
 protected:
  absl::Duration TimeThatPassesIn(absl::Duration span) {
    const absl::Duration before = running_.Monotonic();
    system_.Advance(span);
    return running_.Monotonic() - before;
  }

  FakeClock system_;
  Log log_{[](std::string_view) {}};
  const RunningClock running_{system_, kLooksEvery, log_};
};

TEST_F(RunningClockTest, GoesAsLongAsSomebodyLooks) {
  EXPECT_EQ(TimeThatPassesIn(absl::Milliseconds(1)), absl::Milliseconds(1));
  EXPECT_EQ(TimeThatPassesIn(kLooksEvery), kLooksEvery);
  EXPECT_EQ(running_.Now(), system_.Now());
}

TEST_F(RunningClockTest, StandsStillWhileTheProcessDoes) {
  EXPECT_EQ(TimeThatPassesIn(2 * kLooksEvery), absl::ZeroDuration());
  EXPECT_EQ(TimeThatPassesIn(absl::Seconds(5)), absl::Seconds(5));
  EXPECT_EQ(TimeThatPassesIn(3 * kLooksEvery), absl::ZeroDuration());
  EXPECT_EQ(running_.Now(), system_.Now());
}

TEST_F(RunningClockTest, AThreadThatWaitsForAProcessorIsNoStandstill) {
  const absl::Duration late = kLooksEvery + RunningClock::kLongestDelay;
  EXPECT_EQ(TimeThatPassesIn(late), late);
}

}  // namespace
}  // namespace fedtune
