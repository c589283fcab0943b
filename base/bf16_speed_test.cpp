// SPDX-License-Identifier: Apache-2.0

#include "base/bf16_speed.h"

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

TEST_F(Bf16SpeedTest, IsTheSameEachTime) {
  const double once = Bf16OverFp32();
  for (int i = 0; i < 20; ++i) EXPECT_NEAR(Bf16OverFp32(), once, 0.2 * once);
}

}  // namespace
}  // namespace fedtune
