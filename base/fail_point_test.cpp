// SPDX-License-Identifier: Apache-2.0

#include "base/fail_point.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ExitedWithCode;
using testing::IsOk;
using ::testing::KilledBySignal;

void ArmWith(const char* value) {
  ::setenv("FEDTUNE_FAIL_POINT", value, 1);
  ArmFailPoints();
}

TEST(FailPointDeathTest, AProgramIsKilledWhereItIsToldTo) {
  EXPECT_EXIT(
      {
        ArmWith("journal-append-before:kill");
        ReachFailPoint(FailPoint::kJournalAppendAfter);
        ReachFailPoint(FailPoint::kJournalAppendBefore);
        std::_Exit(0);
      },
      KilledBySignal(SIGKILL), "");
}

TEST(FailPointDeathTest, TurnsAreCounted) {
  EXPECT_EXIT(
      {
        ArmWith("upload-chunk@3:kill");
        ReachFailPoint(FailPoint::kUploadChunk);
        ReachFailPoint(FailPoint::kUploadChunk);
        std::fputs("twice it lives", stderr);
        ReachFailPoint(FailPoint::kUploadChunk);
        std::_Exit(0);
      },
      KilledBySignal(SIGKILL), "twice it lives");
}

TEST(FailPointDeathTest, ACallFailsOnceAndIsRightAgain) {
  EXPECT_EXIT(
      {
        ArmWith("spool-sync@2:error,spool-create:error");
        const bool right = CheckFailPoint(FailPoint::kSpoolSync).ok() &&
                           absl::IsResourceExhausted(CheckFailPoint(FailPoint::kSpoolSync)) &&
                           CheckFailPoint(FailPoint::kSpoolSync).ok() &&
                           absl::IsResourceExhausted(CheckFailPoint(FailPoint::kSpoolCreate));
        std::_Exit(right ? 7 : 0);
      },
      ExitedWithCode(7), "");
}

TEST(FailPointDeathTest, WhatDoesNotExistIsRefusedWithAList) {
  for (const char* wrong :
       {"no-such-point:kill", "journal-append-before:explode", "journal-append-before",
        "journal-append-before@0:kill", "journal-append-before@x:kill", "upload-chunk:error",
        "upload-chunk:kill,:kill", ":", "journal-append-before@99999999999999999999:kill"}) {
    EXPECT_EXIT(ArmWith(wrong), ExitedWithCode(2), "upload-chunk \\(kill only\\)") << wrong;
  }
}

TEST(FailPointTest, NothingHappensUnlessItIsArmed) {
  for (const FailPointEntry& entry : kFailPoints) {
    ReachFailPoint(entry.point);
    EXPECT_THAT(CheckFailPoint(entry.point), IsOk()) << entry.name;
  }
}

}  // namespace
}  // namespace fedtune
