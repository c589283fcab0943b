// SPDX-License-Identifier: Apache-2.0

// Runs that a client has declined for want of something that may come.

#include "client/round/client_state.h"
#include "gmock/gmock.h"
#include "tests/support/client_state_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr absl::Duration kMinute = absl::Minutes(1);

class DeclinedRunTest : public ClientStateTest {
 protected:
  std::vector<std::string> StudiedWithoutTheBaseModel() {
    return After(
        Report(Studied{{.run = kIcd, .reason = "its disk is not mounted", .may_pass = true}}));
  }
  std::vector<std::string> StudiedWithALogThatWasRolledBack(int entries = 980) {
    return After(Report(Studied{{.run = kIcd,
                                 .reason = fmt::format("its log has {} entries", entries),
                                 .may_pass = true,
                                 .passes_by_hand = true}}));
  }
  std::vector<std::string> StudiedAgainstThePolicy() {
    return After(Report(Studied{{.run = kIcd, .reason = "rank 64"}}));
  }
};

TEST_F(DeclinedRunTest, IsTakenUpWhenWhatWasMissingIsThere) {
  Invited();
  EXPECT_THAT(StudiedWithoutTheBaseModel(),
              ElementsAre("decline run-1cd1: its disk is not mounted"));
  EXPECT_EQ(client_.wake_at(), now_.monotonic + kMinute);
  EXPECT_THAT(AfterTime(kMinute - kSecond), IsEmpty());
  EXPECT_THAT(AfterTime(kSecond), ElementsAre("study run-1cd1"));
  EXPECT_THAT(AfterTime(kMinute), IsEmpty()) << "it is being studied";
  EXPECT_THAT(StudiedAndAccepted(), ElementsAre("accept run-1cd1"));
  EXPECT_THAT(AfterTime(absl::Hours(2)), IsEmpty());
  EXPECT_THAT(Assigned(Round(3)), ElementsAre("train run-1cd1 3.1"));
}

TEST_F(DeclinedRunTest, IsLookedAtLessOftenTheLongerItIsMissing) {
  Invited();
  for (const int minutes : {1, 2, 4, 8, 16, 32, 60, 60}) {
    StudiedWithoutTheBaseModel();
    EXPECT_THAT(AfterTime(minutes * kMinute - kSecond), IsEmpty()) << minutes;
    EXPECT_THAT(AfterTime(kSecond), ElementsAre("study run-1cd1")) << minutes;
  }
}

TEST_F(DeclinedRunTest, IsLookedAtSoonAgainWhenTheSameIsMissingLater) {
  Invited();
  StudiedWithoutTheBaseModel();
  AfterTime(kMinute);
  StudiedAndAccepted();
  After(Instruction(Invitation{.run = kIcd, .plan_toml = "name = \"other\""}));
  StudiedWithoutTheBaseModel();
  EXPECT_THAT(AfterTime(kMinute), ElementsAre("study run-1cd1"));
}

TEST_F(DeclinedRunTest, IsNotStudiedTwiceWhenItIsInvitedAgainMeanwhile) {
  Invited();
  StudiedWithoutTheBaseModel();
  Pass(kMinute);
  EXPECT_THAT(Invited(), ElementsAre("study run-1cd1"));
  EXPECT_THAT(AfterTime(kMinute), IsEmpty());
}

TEST_F(DeclinedRunTest, IsLookedAtEveryMinuteWhereSomebodyMayMendIt) {
  Invited();
  for (int minute = 0; minute < 100; ++minute) {
    StudiedWithALogThatWasRolledBack();
    EXPECT_THAT(AfterTime(kMinute), ElementsAre("study run-1cd1")) << minute;
  }
  EXPECT_THAT(StudiedAndAccepted(), ElementsAre("accept run-1cd1"));
}

TEST_F(DeclinedRunTest, IsNotToldAgainEachMinuteAsTheLogGrows) {
  Invited();
  EXPECT_THAT(StudiedWithALogThatWasRolledBack(),
              ElementsAre("decline run-1cd1: its log has 980 entries"));
  AfterTime(kMinute);
  EXPECT_THAT(StudiedWithALogThatWasRolledBack(), IsEmpty());
  AfterTime(kMinute);
  EXPECT_THAT(StudiedWithALogThatWasRolledBack(981), IsEmpty());
  AfterTime(kMinute);
  EXPECT_THAT(StudiedAgainstThePolicy(), ElementsAre("decline run-1cd1: rank 64"));
}

TEST_F(DeclinedRunTest, IsToldAgainWhenItIsAskedForAgain) {
  Invited();
  StudiedWithALogThatWasRolledBack();
  AfterTime(kMinute);
  EXPECT_THAT(Invited(), IsEmpty()) << "it is being studied";
  EXPECT_THAT(StudiedWithALogThatWasRolledBack(),
              ElementsAre("decline run-1cd1: its log has 980 entries"));
  AfterTime(kMinute);
  EXPECT_THAT(Assigned(Round(3)), IsEmpty()) << "it is being studied";
  EXPECT_THAT(StudiedWithALogThatWasRolledBack(),
              ElementsAre("decline run-1cd1: its log has 980 entries"));
}

TEST_F(DeclinedRunTest, IsLeftAloneWhereThePolicyForbidsIt) {
  Invited();
  StudiedAgainstThePolicy();
  EXPECT_EQ(client_.wake_at(), std::nullopt);
  EXPECT_THAT(AfterTime(absl::Hours(24)), IsEmpty());
}

TEST_F(DeclinedRunTest, IsForgottenWhenItHasEnded) {
  Invited();
  StudiedWithoutTheBaseModel();
  Ended();
  EXPECT_THAT(AfterTime(absl::Hours(24)), IsEmpty());
}

}  // namespace
}  // namespace fedtune::testing
