// SPDX-License-Identifier: Apache-2.0

// A coordinator whose log is not the one that was seen.

#include "absl/status/status.h"
#include "client/round/client_state.h"
#include "client/round/refused_log.h"
#include "gmock/gmock.h"
#include "tests/support/client_state_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

constexpr char kOther[] = "run-07e2";

class LookedAtLogTest : public ClientStateTest {
 protected:
  std::vector<std::string> Looked(absl::Status status) {
    return After(Report(LogLooked{std::move(status)}));
  }
  static absl::Status RolledBack(int entries = 980) {
    return WithRefusedLog(
        absl::FailedPreconditionError(fmt::format("its log has {} entries", entries)));
  }
  std::vector<std::string> StudiedAndRefused(const std::string& run = kIcd) {
    return After(Report(Studied{{.run = run,
                                 .reason = "its log has 980 entries",
                                 .may_pass = true,
                                 .passes_by_hand = true,
                                 .refuses_log = true}}));
  }
};

TEST_F(LookedAtLogTest, IsLookedAtWhenASessionBegins) {
  EXPECT_THAT(WelcomedAndLooking(Runs{}), Contains(kLooks));
  EXPECT_THAT(WelcomedAndLooking(Runs{}), Not(Contains(kLooks))) << "once at a time";
  EXPECT_THAT(Looked(absl::OkStatus()), ElementsAre(kLooks)) << "as the session is another one";
  EXPECT_THAT(Looked(absl::OkStatus()), IsEmpty());
  EXPECT_EQ(client_.wake_at(), std::nullopt);
}

TEST_F(LookedAtLogTest, AllRunsAreDeclinedAtOnceWhenItIsRefused) {
  Accept(kIcd);
  Accept(kOther);
  Welcomed(Runs{kIcd, kOther});
  EXPECT_THAT(Looked(RolledBack()),
              UnorderedElementsAre("decline run-07e2: its log has 980 entries",
                                   "decline run-1cd1: its log has 980 entries"));
}

TEST_F(LookedAtLogTest, WorkIsStoppedAndNotToldOfAsFailed) {
  Accept();
  Assigned(Round(3));
  Welcomed(Runs{kIcd});
  EXPECT_THAT(Looked(RolledBack()),
              ElementsAre("stop", "decline run-1cd1: its log has 980 entries"));
  EXPECT_THAT(TrainedWith(Round(3), absl::CancelledError("stopped")), IsEmpty());
  EXPECT_THAT(Assigned(Round(3, 2)), ElementsAre("decline run-1cd1: its log has 980 entries"));
}

TEST_F(LookedAtLogTest, AnAttemptThatShowsItDeclinesAllRuns) {
  Accept(kIcd);
  Accept(kOther);
  Assigned(Round(3));
  EXPECT_THAT(TrainedWith(Round(3), RolledBack()),
              UnorderedElementsAre("decline run-07e2: its log has 980 entries",
                                   "decline run-1cd1: its log has 980 entries"));
}

TEST_F(LookedAtLogTest, ARunThatShowsItDeclinesAllRuns) {
  Accept(kOther);
  Invited();
  EXPECT_THAT(StudiedAndRefused(),
              UnorderedElementsAre("decline run-07e2: its log has 980 entries",
                                   "decline run-1cd1: its log has 980 entries"));
}

TEST_F(LookedAtLogTest, SomeSecondsAfterItWasAcceptedAllRunsAreLookedAtAgain) {
  Accept();
  Assigned(Round(3));
  TrainedWith(Round(3), RolledBack());
  EXPECT_THAT(AfterTime(absl::Seconds(2)), ElementsAre(kLooks));
  EXPECT_THAT(Looked(RolledBack(981)), IsEmpty()) << "the coordinator knows";
  EXPECT_EQ(client_.wake_at(), now_.monotonic + absl::Seconds(2));
  EXPECT_THAT(AfterTime(absl::Seconds(2)), ElementsAre(kLooks));
  EXPECT_THAT(Looked(absl::OkStatus()), ElementsAre("study run-1cd1"));
  EXPECT_THAT(StudiedAndAccepted(), ElementsAre("accept run-1cd1"));
  EXPECT_THAT(AfterTime(absl::Hours(2)), IsEmpty());
  EXPECT_THAT(Assigned(Round(3, 2)), ElementsAre("train run-1cd1 3.2"));
}

TEST_F(LookedAtLogTest, ThatItIsRefusedStillIsToldOnce) {
  Invited();
  StudiedAndRefused();
  AfterTime(absl::Seconds(2));
  Looked(absl::OkStatus());
  EXPECT_THAT(StudiedAndRefused(), IsEmpty());
  EXPECT_THAT(AfterTime(absl::Seconds(2)), ElementsAre(kLooks));
}

TEST_F(LookedAtLogTest, AnotherFaultOfTheLogIsToldWhereItWasRefused) {
  Invited();
  StudiedAndRefused();
  AfterTime(absl::Seconds(2));
  Looked(absl::OkStatus());
  InvitationAnswer answer{.run = kIcd, .reason = "no proof"};
  answer.may_pass = answer.passes_by_hand = true;
  EXPECT_THAT(After(Report(Studied{answer})), ElementsAre("decline run-1cd1: no proof"));
  AfterTime(absl::Minutes(1));
  EXPECT_THAT(StudiedAndRefused(), ElementsAre("decline run-1cd1: its log has 980 entries"));
}

TEST_F(LookedAtLogTest, ANewInvitationIsAnsweredAnew) {
  Invited();
  StudiedAndRefused();
  EXPECT_THAT(Invited(), ElementsAre("study run-1cd1"));
  EXPECT_THAT(StudiedAndRefused(), ElementsAre("decline run-1cd1: its log has 980 entries"));
}

TEST_F(LookedAtLogTest, ACoordinatorThatDoesNotAnswerChangesNothing) {
  Accept();
  Welcomed(Runs{kIcd});
  EXPECT_THAT(Looked(absl::InvalidArgumentError("no proof")), IsEmpty());
  EXPECT_THAT(Assigned(Round(3)), ElementsAre("train run-1cd1 3.1"));
  TrainedWith(Round(3), RolledBack());
  AfterTime(absl::Seconds(2));
  EXPECT_THAT(Looked(absl::InvalidArgumentError("no proof")), IsEmpty());
  EXPECT_THAT(AfterTime(absl::Seconds(2)), ElementsAre(kLooks)) << "it is refused still";
}

TEST_F(LookedAtLogTest, ASecureAggregationEndsAndTheCoordinatorIsTold) {
  Invited();
  After(Report(Studied{{.run = kIcd, .accepted = true, .secure = true}}));
  Assigned(Round(3));
  TrainedWith(Round(3), absl::OkStatus());
  Welcomed(Runs{kIcd});
  EXPECT_THAT(Looked(RolledBack()),
              ElementsAre("end aggregation run-1cd1", "decline run-1cd1: its log has 980 entries",
                          "failed run-1cd1 3.1: its log has 980 entries"));
}

}  // namespace
}  // namespace fedtune::testing
