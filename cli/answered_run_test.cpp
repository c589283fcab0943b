// SPDX-License-Identifier: Apache-2.0

#include "cli/answered_run.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;

constexpr auto kRefused = absl::StatusCode::kDataLoss;

TEST(CheckIsTheRunTest, TakesTheRunThatWasAskedFor) {
  EXPECT_THAT(CheckIsTheRun("run-7f3a", "run-7f3a"), IsOk());
  EXPECT_THAT(CheckIsTheRun("run-7", "run-7f3a"), IsOk());
}

TEST(CheckIsTheRunTest, RefusesAnotherRun) {
  EXPECT_THAT(CheckIsTheRun("run-7f3a", "run-7f3b"), HasCode(kRefused));
  EXPECT_THAT(CheckIsTheRun("run-7f3a", ""), HasCode(kRefused));
}

TEST(CheckIsTheRunTest, RefusesAPath) {
  EXPECT_THAT(CheckIsTheRun("run-7f3a", "/home/ada/.ssh/run-7f3a"), HasCode(kRefused));
  EXPECT_THAT(CheckIsTheRun("run-7f3a", "run-7f3a/../../.ssh"), HasCode(kRefused));
  EXPECT_THAT(CheckIsTheRun("run-7", "run-7.."), HasCode(kRefused));
}

TEST(CheckIsSizeOfTest, RefusesAReleaseOfAnotherSizeThanItsLayout) {
  const auto layout = AdapterLayout::Create({{"q_proj", 4, 6, 2, 4}});
  ASSERT_THAT(layout, IsOk());
  EXPECT_THAT(CheckIsSizeOf(*layout, 80), IsOk());
  for (const uint64_t size : {uint64_t{0}, uint64_t{76}, uint64_t{1} << 62}) {
    EXPECT_THAT(CheckIsSizeOf(*layout, size), HasCode(kRefused));
  }
}

// The largest layout has 2^40 values, and a coordinator may give it with its size.
TEST(CheckFitsIntoMemoryTest, RefusesWhatHasNoRoomTwice) {
  constexpr uint64_t kUsable = 1'000'001;
  EXPECT_THAT(CheckFitsIntoMemory(500'000, kUsable), IsOk());
  for (const uint64_t size : {uint64_t{500'001}, uint64_t{4} << 40, ~uint64_t{0}}) {
    EXPECT_THAT(CheckFitsIntoMemory(size, kUsable), HasCode(absl::StatusCode::kResourceExhausted));
  }
}

}  // namespace
}  // namespace fedtune
