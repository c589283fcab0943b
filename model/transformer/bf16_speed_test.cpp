// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/bf16_speed.h"

#include "base/cpu.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

class Bf16SpeedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (UsableCpuLevel() < CpuLevel::kAvx512Bf16) GTEST_SKIP() << "this CPU multiplies no bf16";
  }
};

TEST_F(Bf16SpeedTest, IsWithinWhatCpusDo) {
  EXPECT_GT(Bf16OverFp32(), 0.2);
  EXPECT_LT(Bf16OverFp32(), 5);
}

TEST_F(Bf16SpeedTest, DecidesTheSameEachTime) {
  const bool decided = Bf16ProductsAreFaster();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(Bf16OverFp32() > 1.4, decided);
}

}  // namespace
}  // namespace fedtune
