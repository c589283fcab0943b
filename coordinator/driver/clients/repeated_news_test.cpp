// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/clients/repeated_news.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

using Say = RepeatedNews::Say;

const Institution kUke{"uke"};
const Institution kHelios{"helios"};

class RepeatedNewsTest : public ::testing::Test {
 protected:
  // As often as is said.
  void UkeDoesItAgainAndAgain() {
    for (int64_t i = 1; i < RepeatedNews::kMost; ++i) {
      EXPECT_EQ(clients_.Note(kUke, now_ += absl::Seconds(1)), Say::kIt);
    }
    EXPECT_EQ(clients_.Note(kUke, now_), Say::kThatItIsTheLast);
  }

  RepeatedNews clients_;
  absl::Duration now_ = absl::Hours(100);
};

TEST_F(RepeatedNewsTest, IsSaidUpToSomeNumber) {
  UkeDoesItAgainAndAgain();
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(clients_.Note(kUke, now_), Say::kNothing);
}

TEST_F(RepeatedNewsTest, IsSaidOfTheOthersAllTheSame) {
  UkeDoesItAgainAndAgain();
  EXPECT_EQ(clients_.Note(kHelios, now_), Say::kIt);
}

TEST_F(RepeatedNewsTest, IsSaidAgainAfterAWhile) {
  UkeDoesItAgainAndAgain();
  now_ += RepeatedNews::kWithin;
  UkeDoesItAgainAndAgain();
}

}  // namespace
}  // namespace fedtune
