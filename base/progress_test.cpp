// SPDX-License-Identifier: Apache-2.0

#include "base/progress.h"

#include <cmath>

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace fedtune {
namespace {

using testing::FakeClock;

// What a progress line wrote to a pipe.
class ProgressLineTest : public ::testing::Test {
 protected:
  ProgressLineTest() : stream_(std::tmpfile()) {}
  ~ProgressLineTest() override { std::fclose(stream_); }

  std::string Written() {
    std::string text(static_cast<size_t>(std::ftell(stream_)), '\0');
    std::rewind(stream_);
    EXPECT_EQ(std::fread(text.data(), 1, text.size(), stream_), text.size());
    return text;
  }

  FakeClock clock_;
  std::FILE* const stream_;
};

TEST_F(ProgressLineTest, StaysSilentForTwoSeconds) {
  ProgressLine line("merging", clock_, stream_);
  clock_.Advance(absl::Seconds(1));
  line.Update(0.5);
  EXPECT_EQ(Written(), "");
}

TEST_F(ProgressLineTest, EstimatesTheRest) {
  ProgressLine line("merging", clock_, stream_);
  clock_.Advance(absl::Seconds(5));
  line.Update(0.5, "3 of 6");
  EXPECT_EQ(Written(), "merging   ##########..........    50 %   3 of 6   5.0 s left\n");
}

TEST(ProgressPaceTest, SpeaksAfterTwoSecondsAndThenInIntervals) {
  FakeClock clock;
  ProgressPace pace(clock, absl::Seconds(10));
  clock.Advance(absl::Seconds(1));
  EXPECT_FALSE(pace.IsDue());
  clock.Advance(absl::Seconds(1));
  EXPECT_TRUE(pace.IsDue());
  EXPECT_FALSE(pace.IsDue());
  clock.Advance(absl::Seconds(9));
  EXPECT_FALSE(pace.IsDue());
  clock.Advance(absl::Seconds(1));
  EXPECT_TRUE(pace.IsDue());
  EXPECT_EQ(pace.elapsed(), absl::Seconds(12));
}

TEST(ProgressBarTest, ClampsTheFraction) {
  EXPECT_EQ(ProgressBar(-1, 4), "....");
  EXPECT_EQ(ProgressBar(0.5, 4), "##..");
  EXPECT_EQ(ProgressBar(7, 4), "####");
  EXPECT_EQ(ProgressBar(std::nan(""), 4), "....");
}

}  // namespace
}  // namespace fedtune
