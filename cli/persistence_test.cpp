// SPDX-License-Identifier: Apache-2.0

#include "cli/persistence.h"

#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"

namespace fedtune {
namespace {

const absl::Status kBrokenOff = absl::UnavailableError("");
const absl::Status kSilent = absl::DeadlineExceededError("");

class PersistenceTest : public ::testing::Test {
 protected:
  testing::FakeClock clock_;
  Persistence persistence_{clock_};
};

TEST_F(PersistenceTest, GivesUpALineThatStaysBroken) {
  EXPECT_TRUE(persistence_.GoesOn(kBrokenOff, false));
  clock_.Advance(kComesBackWithin - absl::Seconds(1));
  EXPECT_TRUE(persistence_.GoesOn(kBrokenOff, false));
  clock_.Advance(absl::Seconds(1));
  EXPECT_FALSE(persistence_.GoesOn(kBrokenOff, false));
}

TEST_F(PersistenceTest, GivesUpWhereNothingComesAgainAndAgain) {
  EXPECT_TRUE(persistence_.GoesOn(kSilent, false));
  EXPECT_TRUE(persistence_.GoesOn(kSilent, false));
  EXPECT_FALSE(persistence_.GoesOn(kSilent, false));
}

TEST_F(PersistenceTest, BeginsAnewWhereItGetsOn) {
  for (int i = 0; i < 2 * kMostSilences; ++i) EXPECT_TRUE(persistence_.GoesOn(kSilent, true));
  for (int i = 0; i < 5; ++i) {
    clock_.Advance(kComesBackWithin);
    EXPECT_TRUE(persistence_.GoesOn(kBrokenOff, true));
  }
}

// That a line is cut shows when nobody has answered on it for longer than it has to come back.
TEST_F(PersistenceTest, WaitsForALineThatWasSilentBeforeItBrokeOff) {
  clock_.Advance(2 * kComesBackWithin);
  EXPECT_TRUE(persistence_.GoesOn(kBrokenOff, false));
  clock_.Advance(2 * kComesBackWithin);
  EXPECT_TRUE(persistence_.GoesOn(kSilent, false));
  EXPECT_TRUE(persistence_.GoesOn(kBrokenOff, false));
}

TEST_F(PersistenceTest, AsksNobodyAgainWhoHasAnswered) {
  EXPECT_FALSE(persistence_.GoesOn(absl::OkStatus(), true));
  EXPECT_FALSE(persistence_.GoesOn(absl::NotFoundError(""), true));
}

}  // namespace
}  // namespace fedtune
