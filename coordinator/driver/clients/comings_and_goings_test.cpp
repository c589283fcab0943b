// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/clients/comings_and_goings.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

using Say = ComingsAndGoings::Say;

const Institution kUke{"uke"};
const Institution kHelios{"helios"};

class ComingsAndGoingsTest : public ::testing::Test {
 protected:
  // As often as is said.
  void UkeComesAndGoes() {
    for (int64_t i = 1; i < ComingsAndGoings::kMost; ++i) {
      EXPECT_EQ(clients_.Note(kUke, now_ += absl::Seconds(1)), Say::kIt);
    }
    EXPECT_EQ(clients_.Note(kUke, now_), Say::kThatItIsTheLast);
  }

  ComingsAndGoings clients_;
  absl::Duration now_ = absl::Hours(100);
};

TEST_F(ComingsAndGoingsTest, AreSaidUpToSomeNumber) {
  UkeComesAndGoes();
  for (int i = 0; i < 1'000; ++i) EXPECT_EQ(clients_.Note(kUke, now_), Say::kNothing);
}

TEST_F(ComingsAndGoingsTest, AreSaidOfTheOthersAllTheSame) {
  UkeComesAndGoes();
  EXPECT_EQ(clients_.Note(kHelios, now_), Say::kIt);
}

TEST_F(ComingsAndGoingsTest, AreSaidAgainAfterAWhile) {
  UkeComesAndGoes();
  now_ += ComingsAndGoings::kWithin;
  UkeComesAndGoes();
}

}  // namespace
}  // namespace fedtune
