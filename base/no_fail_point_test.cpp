// SPDX-License-Identifier: Apache-2.0

// What a program that is deployed does at fail points: nothing.

#include <cstdlib>

#include "base/fail_point.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

#ifdef FEDTUNE_FAIL_POINTS
#error this test is of a build without fail points
#endif

namespace fedtune {
namespace {

using testing::IsOk;

TEST(NoFailPointTest, NothingIsReadAndNothingHappens) {
  for (const char* value : {"journal-append-before:kill", "no-such-point:explode"}) {
    ASSERT_EQ(::setenv("FEDTUNE_FAIL_POINT", value, 1), 0);
    ArmFailPoints();
    ReachFailPoint(FailPoint::kJournalAppendBefore);
    EXPECT_THAT(CheckFailPoint(FailPoint::kJournalAppendBefore), IsOk());
  }
}

}  // namespace
}  // namespace fedtune
