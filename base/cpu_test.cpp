// SPDX-License-Identifier: Apache-2.0

#include "base/cpu.h"

#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;

TEST(CpuTest, ALimitIsALevelByItsName) {
  EXPECT_EQ(*ParseCpuLimit("portable"), CpuLevel::kPortable);
  EXPECT_EQ(*ParseCpuLimit("avx512"), CpuLevel::kAvx512);
  EXPECT_EQ(*ParseCpuLimit("avx512_bf16"), CpuLevel::kAvx512Bf16);
  EXPECT_EQ(*ParseCpuLimit("amx_bf16"), CpuLevel::kAmxBf16);
}

TEST(CpuTest, WithoutALimitEveryLevelMayBeUsed) {
  EXPECT_EQ(*ParseCpuLimit(""), CpuLevel::kAmxBf16);
}

TEST(CpuTest, RefusesAnUnknownLimit) {
  EXPECT_THAT(std::string(ParseCpuLimit("avx2").status().message()),
              HasSubstr("FEDTUNE_CPU is \"avx2\"; set it to"));
}

TEST(CpuTest, TheLevelIsNeverAboveTheVariables) {
  ASSERT_THAT(CheckCpuVariable(), IsOk());
  const char* variable = std::getenv("FEDTUNE_CPU");
  EXPECT_LE(UsableCpuLevel(), *ParseCpuLimit(variable == nullptr ? "" : variable));
}

}  // namespace
}  // namespace fedtune
