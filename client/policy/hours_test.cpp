// SPDX-License-Identifier: Apache-2.0

#include "client/policy/hours.h"

#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;

const absl::TimeZone kBerlin = absl::FixedTimeZone(3600);

absl::Time At(int day, int hour, int minute) {
  return absl::FromCivil(absl::CivilMinute(2026, 3, day, hour, minute), kBerlin);
}

Hours Night() { return *Hours::Parse("20:00-06:00"); }

TEST(HoursTest, AreAlwaysOpenByDefault) {
  EXPECT_EQ(Hours().OpensAt(At(1, 0, 0), kBerlin), std::nullopt);
  EXPECT_EQ(Hours().OpensAt(At(1, 23, 59), kBerlin), std::nullopt);
  EXPECT_EQ(Hours().ClosesAt(At(1, 12, 0), kBerlin), std::nullopt);
}

TEST(HoursTest, StartIsInAndEndIsOut) {
  const Hours day = *Hours::Parse("08:00-17:30");
  EXPECT_EQ(day.OpensAt(At(1, 8, 0), kBerlin), std::nullopt);
  EXPECT_EQ(day.OpensAt(At(1, 17, 29), kBerlin), std::nullopt);
  EXPECT_EQ(day.OpensAt(At(1, 17, 30), kBerlin), At(2, 8, 0));
  EXPECT_EQ(day.OpensAt(At(1, 7, 59), kBerlin), At(1, 8, 0));
}

TEST(HoursTest, GoOverMidnight) {
  EXPECT_EQ(Night().OpensAt(At(1, 23, 0), kBerlin), std::nullopt);
  EXPECT_EQ(Night().OpensAt(At(2, 5, 59), kBerlin), std::nullopt);
  EXPECT_EQ(Night().OpensAt(At(2, 6, 0), kBerlin), At(2, 20, 0));
}

TEST(HoursTest, CloseAtTheNextEnd) {
  EXPECT_EQ(Night().ClosesAt(At(1, 23, 0), kBerlin), At(2, 6, 0));
  EXPECT_EQ(Night().ClosesAt(At(2, 5, 59), kBerlin), At(2, 6, 0));
}

TEST(HoursTest, AreReadInTheGivenZone) {
  const absl::Time half_past_eight_in_berlin = At(1, 20, 30);
  EXPECT_EQ(Night().OpensAt(half_past_eight_in_berlin, kBerlin), std::nullopt);
  EXPECT_EQ(Night().OpensAt(half_past_eight_in_berlin, absl::UTCTimeZone()), At(1, 21, 0));
}

TEST(HoursTest, MayEndAtMidnight) {
  const Hours evening = *Hours::Parse("18:00-24:00");
  EXPECT_EQ(evening.OpensAt(At(1, 23, 59), kBerlin), std::nullopt);
  EXPECT_EQ(evening.OpensAt(At(2, 0, 0), kBerlin), At(2, 18, 0));
  EXPECT_EQ(evening.ClosesAt(At(1, 19, 0), kBerlin), At(2, 0, 0));
}

TEST(HoursTest, PrintAsTheyAreWritten) {
  EXPECT_EQ(Night().ToString(), "20:00-06:00");
  EXPECT_EQ(Hours().ToString(), "00:00-24:00");
}

class RejectedHours : public ::testing::TestWithParam<const char*> {};

TEST_P(RejectedHours, AreRefused) {
  EXPECT_THAT(Hours::Parse(GetParam()), HasCode(absl::StatusCode::kInvalidArgument));
}

INSTANTIATE_TEST_SUITE_P(Texts, RejectedHours,
                         ::testing::Values("", "20:00", "20:00-", "20:00-06:0", "20-06",
                                           "20:00-25:00", "20:60-06:00", "24:01-06:00",
                                           "24:00-06:00", "20:00-20:00", "20:00 06:00",
                                           "20:00-06:00 "));

}  // namespace
}  // namespace fedtune
