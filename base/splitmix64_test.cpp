// SPDX-License-Identifier: Apache-2.0

#include "base/splitmix64.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(SplitMix64Test, GivesTheNumbersOfItsAuthorsProgram) {
  SplitMix64 random(1234567);
  EXPECT_EQ(random.Next(), 6457827717110365317u);
  EXPECT_EQ(random.Next(), 3203168211198807973u);
  EXPECT_EQ(random.Next(), 9817491932198370423u);
}

}  // namespace
}  // namespace fedtune
