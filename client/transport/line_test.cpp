// SPDX-License-Identifier: Apache-2.0

#include "client/transport/line.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

constexpr absl::Duration kAcrossTheCountry = absl::Milliseconds(40);
constexpr size_t kLeast = MessageSize::kLeast, kMost = MessageSize::kMost;

TEST(RoundTripsTest, OnlyTheShortestCounts) {
  RoundTrips trips;
  EXPECT_EQ(trips.shortest(), absl::InfiniteDuration());
  trips.Note(absl::Milliseconds(40));
  trips.Note(absl::Milliseconds(900));
  EXPECT_EQ(trips.shortest(), absl::Milliseconds(40));
}

// What the line does to an upload: the time of each message, of which `size` says how large it is.
template <typename Line>
void Upload(MessageSize& size, const Line& line, int messages = 40) {
  for (int i = 0; i < messages; ++i) size.Took(line(size.next()));
}

// One message is on its way at a time.
constexpr auto kOneAtATime = [](size_t bytes) {
  return kAcrossTheCountry + absl::Seconds(static_cast<double>(bytes) / 1e9);
};

TEST(MessageSizeTest, MessagesStaySmallOverAShortLine) {
  MessageSize size(absl::Milliseconds(2));
  Upload(size, kOneAtATime);
  EXPECT_EQ(size.next(), kLeast);
}

TEST(MessageSizeTest, MessagesStaySmallWhereNobodyKnowsHowLongTheLineIs) {
  MessageSize size(absl::InfiniteDuration());
  Upload(size, kOneAtATime);
  EXPECT_EQ(size.next(), kLeast);
}

TEST(MessageSizeTest, MessagesGrowOverALongLineWhereMoreGoesOverItSo) {
  MessageSize size(kAcrossTheCountry);
  Upload(size, kOneAtATime, MessageSize::kShown - 1);
  EXPECT_EQ(size.next(), kLeast);
  Upload(size, kOneAtATime, 1);
  EXPECT_EQ(size.next(), 2 * kLeast);
  Upload(size, kOneAtATime);
  EXPECT_EQ(size.next(), kMost);
}

TEST(MessageSizeTest, MessagesStaySmallWhereTheLineIsFullAnyway) {
  MessageSize size(kAcrossTheCountry);
  Upload(size, [](size_t bytes) { return absl::Seconds(static_cast<double>(bytes) / 5e6); });
  EXPECT_EQ(size.next(), kLeast);
}

TEST(MessageSizeTest, MessagesDoNotGrowOnceOneTakesLong) {
  MessageSize size(kAcrossTheCountry);
  Upload(size, [](size_t) { return absl::Seconds(2); });
  EXPECT_EQ(size.next(), kLeast);
}

TEST(MessageSizeTest, MessagesShrinkAgainWhenTheLineBecomesTooSlow) {
  MessageSize size(kAcrossTheCountry);
  Upload(size, kOneAtATime);
  size.Took(absl::Seconds(5));
  EXPECT_EQ(size.next(), kMost / 2);
  Upload(size, [](size_t) { return absl::Seconds(5); });
  EXPECT_EQ(size.next(), kLeast);
}

}  // namespace
}  // namespace fedtune
