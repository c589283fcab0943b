// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rpc/session_pace.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

const Institution kAda{"ada"};
const Institution kBea{"bea"};

absl::Duration At(double seconds) { return absl::Seconds(1000 + seconds); }

int BegunAt(SessionPace& pace, const Institution& institution, absl::Duration now) {
  int begun = 0;
  while (begun < 1000 && pace.MayBegin(institution, now)) ++begun;
  return begun;
}

TEST(SessionPaceTest, AHundredMayBeginAtOnce) {
  SessionPace pace;
  EXPECT_EQ(BegunAt(pace, kAda, At(0)), 100);
}

TEST(SessionPaceTest, OneASecondGoesOnForEver) {
  SessionPace pace;
  for (int second = 0; second < 1000; ++second) {
    EXPECT_TRUE(pace.MayBegin(kAda, At(second))) << second;
  }
}

TEST(SessionPaceTest, WhoHasHadAHundredWaitsASecondForTheNext) {
  SessionPace pace;
  BegunAt(pace, kAda, At(0));
  EXPECT_FALSE(pace.MayBegin(kAda, At(0.9)));
  EXPECT_TRUE(pace.MayBegin(kAda, At(1.9)));
}

TEST(SessionPaceTest, OneInstitutionDoesNotWaitForAnother) {
  SessionPace pace;
  BegunAt(pace, kAda, At(0));
  EXPECT_TRUE(pace.MayBegin(kBea, At(0)));
}

TEST(SessionPaceTest, NoMoreThanAHundredGatherInAQuietNight) {
  SessionPace pace;
  BegunAt(pace, kAda, At(0));
  EXPECT_EQ(BegunAt(pace, kAda, At(30'000)), 100);
}

}  // namespace
}  // namespace fedtune
