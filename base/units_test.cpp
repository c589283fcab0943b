// SPDX-License-Identifier: Apache-2.0

#include "base/units.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(GroupDigitsTest, PutsACommaBeforeEveryThreeDigits) {
  EXPECT_EQ(GroupDigits(0), "0");
  EXPECT_EQ(GroupDigits(999), "999");
  EXPECT_EQ(GroupDigits(1000), "1,000");
  EXPECT_EQ(GroupDigits(8'123'456'789), "8,123,456,789");
}

TEST(HumanBytesTest, UsesTheUnitThatPeopleRead) {
  EXPECT_EQ(HumanBytes(0), "0 bytes");
  EXPECT_EQ(HumanBytes(999), "999 bytes");
  EXPECT_EQ(HumanBytes(27'600'000), "27.6 MB");
  EXPECT_EQ(HumanBytes(999'960), "1.0 MB");
}

TEST(HumanCountTest, NamesMillionsAndBillions) {
  EXPECT_EQ(HumanCount(12), "12");
  EXPECT_EQ(HumanCount(13'800'000), "13.8 M");
  EXPECT_EQ(HumanCount(15'700'000'000), "15.7 B");
}

TEST(HumanDurationTest, RoundsToWhatMatters) {
  EXPECT_EQ(HumanDuration(absl::Milliseconds(23)), "23 ms");
  EXPECT_EQ(HumanDuration(absl::Seconds(9)), "9.0 s");
  EXPECT_EQ(HumanDuration(absl::Seconds(59.6)), "1 min");
  EXPECT_EQ(HumanDuration(absl::Seconds(100)), "1 min 40 s");
  EXPECT_EQ(HumanDuration(absl::Minutes(41)), "41 min");
  EXPECT_EQ(HumanDuration(absl::Minutes(125)), "2 h 5 min");
  EXPECT_EQ(HumanDuration(absl::Hours(72)), "3 days");
}

TEST(HumanAgoTest, CountsWholeMinutes) {
  const absl::Time then = absl::FromUnixSeconds(1'000'000);
  EXPECT_EQ(HumanAgo(then, then + absl::Milliseconds(900)), "just now");
  EXPECT_EQ(HumanAgo(then, then + absl::Seconds(42)), "42 s ago");
  EXPECT_EQ(HumanAgo(then, then + absl::Seconds(288)), "4 min ago");
  EXPECT_EQ(HumanAgo(then, then + absl::Minutes(125)), "2 h 5 min ago");
}

}  // namespace
}  // namespace fedtune
