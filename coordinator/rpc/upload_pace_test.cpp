// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/upload_pace.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::Optional;

absl::Duration At(int seconds) { return absl::Seconds(1000 + seconds); }

TEST(UploadPaceTest, OneThatSendsNothingIsTooSlowAfterHalfAMinute) {
  UploadPace pace;
  pace.Waits(At(0));
  EXPECT_THAT(pace.Look(At(29)), Optional(At(30)));
  EXPECT_EQ(pace.Look(At(30)), std::nullopt);
}

TEST(UploadPaceTest, SixtyFourBytesASecondAreTooFew) {
  UploadPace pace;
  for (int second = 0; second < 30; ++second) {
    pace.Waits(At(second));
    pace.Came(At(second + 1), 64);
  }
  EXPECT_EQ(pace.Look(At(30)), std::nullopt);
}

TEST(UploadPaceTest, AMebibyteEachHalfMinuteIsEnough) {
  UploadPace pace;
  for (int minute = 0; minute < 10; ++minute) {
    for (const int second : {60 * minute, 60 * minute + 30}) {
      pace.Waits(At(second));
      pace.Came(At(second + 30), 1 << 20);
      EXPECT_THAT(pace.Look(At(second + 30)), Optional(At(second + 60)));
    }
  }
}

TEST(UploadPaceTest, WhatCameLongAgoHelpsNobody) {
  UploadPace pace;
  pace.Waits(At(0));
  pace.Came(At(1), 100 << 20);
  pace.Waits(At(1));
  EXPECT_THAT(pace.Look(At(30)), Optional(At(60)));
  EXPECT_EQ(pace.Look(At(60)), std::nullopt);
}

TEST(UploadPaceTest, TheCoordinatorsOwnWorkDoesNotCount) {
  UploadPace pace;
  pace.Waits(At(0));
  pace.Came(At(1), 1000);
  EXPECT_THAT(pace.Look(At(500)), Optional(At(529)));
  pace.Waits(At(600));
  EXPECT_THAT(pace.Look(At(628)), Optional(At(629)));
  EXPECT_EQ(pace.Look(At(629)), std::nullopt);
}

}  // namespace
}  // namespace fedtune
