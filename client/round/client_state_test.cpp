// SPDX-License-Identifier: Apache-2.0

#include "client/round/client_state.h"

#include "client/storage/agreed_rounds.h"
#include "gmock/gmock.h"
#include "tests/support/client_state_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(ClientStateTest, AnAttemptThatFailedIsNewWorkFromAnotherAdapter) {
  Accept();
  Assigned(Round(5));
  TrainedWith(Round(5), absl::NotFoundError("no such adapter"));
  EXPECT_THAT(Assigned(Round(5)), ElementsAre("failed run-1cd1 5.1: no such adapter"));
  EXPECT_THAT(AssignedFromAnotherAdapter(Round(5)), ElementsAre("train run-1cd1 5.1"));
}

TEST_F(ClientStateTest, WhatIsBeingTrainedMakesWayForTheSameAttemptFromAnotherAdapter) {
  Accept();
  Assigned(Round(5));
  EXPECT_THAT(AssignedFromAnotherAdapter(Round(5)), Contains("stop"));
  EXPECT_THAT(TrainedWith(Round(5), absl::CancelledError("stopped")),
              ElementsAre("train run-1cd1 5.1"));
}

TEST_F(ClientStateTest, WhatIsRefusedOfTheOldAdapterEndsNoWorkOnTheNewOne) {
  Accept();
  Assigned(Round(5));
  TrainedWith(Round(5), absl::OkStatus());
  EXPECT_THAT(AssignedFromAnotherAdapter(Round(5)), ElementsAre("train run-1cd1 5.1"));
  SubmittedWith(Round(5), absl::FailedPreconditionError("trained from another adapter"));
  EXPECT_THAT(TrainedWith(Round(5), absl::OkStatus()), ElementsAre("submit run-1cd1 5.1"));
  SubmittedWith(Round(5), absl::UnavailableError("busy"));
  EXPECT_THAT(AfterTime(absl::Seconds(5)), ElementsAre("submit run-1cd1 5.1"));
}

TEST_F(ClientStateTest, GoesThroughARound) {
  EXPECT_THAT(Invited(), ElementsAre("study run-1cd1"));
  EXPECT_THAT(StudiedAndAccepted(), ElementsAre("accept run-1cd1"));
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("train run-1cd1 0.1"));
  EXPECT_THAT(TrainedWith(Round(0), absl::OkStatus()), ElementsAre("submit run-1cd1 0.1"));
  EXPECT_THAT(SubmittedWith(Round(0), absl::OkStatus()), IsEmpty());
  EXPECT_THAT(Assigned(Round(1)), ElementsAre("train run-1cd1 1.1"));
}

TEST_F(ClientStateTest, DeclinesWithTheReasonFound) {
  Invited();
  EXPECT_THAT(After(Report(Studied{{.run = kIcd, .accepted = false, .reason = "rank 64"}})),
              ElementsAre("decline run-1cd1: rank 64"));
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("decline run-1cd1: rank 64"));
}

TEST_F(ClientStateTest, StudiesARunThatItHasDeclinedWhenItIsInvitedAgain) {
  Invited();
  After(Report(Studied{{.run = kIcd, .accepted = false, .reason = "disk full"}}));
  Welcomed(Runs{kIcd});
  EXPECT_THAT(Invited(), ElementsAre("study run-1cd1"));
  EXPECT_THAT(Invited(), IsEmpty()) << "it is being studied";
  EXPECT_THAT(StudiedAndAccepted(), ElementsAre("accept run-1cd1"));
}

TEST_F(ClientStateTest, WhatWasAssignedBeforeItDeclinedIsNotTrainedWhenItAccepts) {
  Invited();
  Assigned(Round(3));
  After(Report(Studied{{.run = kIcd, .accepted = false, .reason = "disk full"}}));
  Invited();
  EXPECT_THAT(StudiedAndAccepted(), ElementsAre("accept run-1cd1"));
  EXPECT_THAT(Assigned(Round(3)), ElementsAre("train run-1cd1 3.1")) << "asked again";
}

TEST_F(ClientStateTest, AnswersARepeatedInvitationWithoutStudyingAgain) {
  Accept();
  EXPECT_THAT(Invited(), ElementsAre("accept run-1cd1"));
}

TEST_F(ClientStateTest, StudiesOnceWhileTheInvitationIsRepeated) {
  Invited();
  EXPECT_THAT(Invited(), IsEmpty());
}

TEST_F(ClientStateTest, StudiesAnInvitationThatHasChanged) {
  Accept();
  EXPECT_THAT(After(Instruction(Invitation{.run = kIcd, .plan_toml = "name = \"other\""})),
              ElementsAre("study run-1cd1"));
}

// As a coordinator does that lies, or has lost its mind.
class InvitedWithoutEndTest : public ClientStateTest {
 protected:
  void InvitedToAsManyAsItTakes() {
    for (size_t i = 0; i < ClientState::kMostRuns; ++i) {
      ASSERT_THAT(Invited(Name(i)), ElementsAre("study " + Name(i)));
    }
  }
  static std::string Name(size_t i) { return fmt::format("run-{:04x}", i); }
};

TEST_F(InvitedWithoutEndTest, DeclinesMoreRunsThanItHasRoomForAndSaysSo) {
  InvitedToAsManyAsItTakes();
  EXPECT_THAT(Invited(kIcd),
              ElementsAre(HasSubstr("decline run-1cd1: this client has room for 64 runs")));
  EXPECT_THAT(Assigned(Round(0)), ElementsAre(HasSubstr("failed run-1cd1 0.1: this client has")));
  EXPECT_THAT(StudiedAndAccepted(Name(7)), ElementsAre("accept " + Name(7)));
  EXPECT_THAT(Assigned(Round(0, 1, Name(7))), ElementsAre(HasSubstr("train ")));
}

TEST_F(InvitedWithoutEndTest, HasRoomAgainWhenARunEnds) {
  InvitedToAsManyAsItTakes();
  Invited(kIcd);
  Ended(Name(3));
  EXPECT_THAT(Invited(kIcd), ElementsAre("study run-1cd1"));
}

// Nobody tells a client of the end of a run that it has declined.
TEST_F(InvitedWithoutEndTest, RunsThatItHasDeclinedMakeRoom) {
  for (size_t i = 0; i < 3 * ClientState::kMostRuns; ++i) {
    ASSERT_THAT(Invited(Name(i)), Contains("study " + Name(i)));
    After(Report(Studied{{.run = Name(i), .accepted = false, .reason = "rank 64"}}));
  }
}

TEST_F(InvitedWithoutEndTest, NoOthersMakeRoom) {
  InvitedToAsManyAsItTakes();
  After(Report(Studied{{.run = Name(5), .accepted = false, .reason = "rank 64"}}));
  EXPECT_THAT(Invited(kIcd), ElementsAre("forget " + Name(5), "study run-1cd1"));
  EXPECT_THAT(Invited(kNotes), ElementsAre(HasSubstr("decline run-0072: this client has room")));
}

// An older coordinator does not say which runs are under way, and never tells of the end of
// one that ended while the client was away.
TEST_F(InvitedWithoutEndTest, RunsThatAnOlderCoordinatorDoesNotSpeakOfAnyMoreMakeRoom) {
  InvitedToAsManyAsItTakes();
  for (size_t i = 0; i < ClientState::kMostRuns; ++i) StudiedAndAccepted(Name(i));
  Welcomed(std::nullopt);
  EXPECT_THAT(Invited(Name(0)), ElementsAre("accept " + Name(0)));
  EXPECT_THAT(Assigned(Round(0, 1, Name(1))), ElementsAre(HasSubstr("train ")));
  EXPECT_THAT(Invited(kIcd), ElementsAre("forget " + Name(2), "study run-1cd1"));
}

TEST_F(InvitedWithoutEndTest, RunsThatAreUnderWayByTheWelcomeMakeNone) {
  InvitedToAsManyAsItTakes();
  Runs under_way;
  for (size_t i = 0; i < ClientState::kMostRuns; ++i) {
    StudiedAndAccepted(Name(i));
    under_way.push_back(Name(i));
  }
  Welcomed(std::nullopt);
  Welcomed(under_way);
  EXPECT_THAT(Invited(kIcd), ElementsAre(HasSubstr("decline run-1cd1: this client has room")));
}

TEST_F(InvitedWithoutEndTest, WhatIsSaidInAggregationsOfRunsBeforeTheyAreStudiedTakesRoomToo) {
  const Bytes message(ClientState::kMostInvitationBytes / 4, 7);
  for (size_t i = 0; i < 4; ++i) {
    Assigned(Round(0, 1, Name(i)));
    EXPECT_THAT(After(Instruction(SecureMessage{Round(0, 1, Name(i)), message})), IsEmpty());
  }
  Assigned(Round(0));
  EXPECT_THAT(After(Instruction(SecureMessage{Round(0), message})),
              ElementsAre(HasSubstr("failed run-1cd1 0.1: this client has room for")));
}

TEST_F(InvitedWithoutEndTest, AssignmentsToRunsThatNobodyProposedTakeRoomToo) {
  for (size_t i = 0; i < ClientState::kMostRuns; ++i) {
    ASSERT_THAT(Assigned(Round(0, 1, Name(i))), IsEmpty());
  }
  EXPECT_THAT(Assigned(Round(0)), ElementsAre(HasSubstr("failed ")));
}

TEST_F(InvitedWithoutEndTest, DeclinesWhatIsTooLongBesideTheOthers) {
  const std::string half(ClientState::kMostInvitationBytes / 2, 'x');
  After(Instruction(Invitation{.run = kIcd, .layout_json = half}));
  EXPECT_THAT(After(Instruction(Invitation{.run = kNotes, .layout_json = half})),
              ElementsAre(HasSubstr("decline run-0072: this client has room for")));
  EXPECT_THAT(After(Instruction(Invitation{.run = kIcd, .layout_json = half + "."})),
              ElementsAre("study run-1cd1"));
}

TEST_F(ClientStateTest, TrainsOnlyAfterTheInvitationIsAccepted) {
  Invited();
  EXPECT_THAT(Assigned(Round(3)), IsEmpty());
  EXPECT_THAT(StudiedAndAccepted(), ElementsAre("accept run-1cd1", "train run-1cd1 3.1"));
}

TEST_F(ClientStateTest, MayLearnOfARoundBeforeItsRun) {
  EXPECT_THAT(Assigned(Round(3)), IsEmpty());
  Invited();
  EXPECT_THAT(StudiedAndAccepted(), ElementsAre("accept run-1cd1", "train run-1cd1 3.1"));
}

TEST_F(ClientStateTest, WorkInProgressGoesOnWhenTheAssignmentIsRepeated) {
  Accept();
  Assigned(Round(0));
  EXPECT_THAT(Assigned(Round(0)), IsEmpty());
}

// The coordinator may have been started again, and hears of a quarter once.
TEST_F(ClientStateTest, TellsHowFarItIsWhenTheAssignmentIsRepeated) {
  Accept();
  Assigned(Round(0));
  At(Round(0), 0.25);
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("training run-1cd1 0.1: 0.25"));
}

TEST_F(ClientStateTest, AFinishedContributionIsSentAgainWhenAskedAgain) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  EXPECT_THAT(Assigned(Round(0)), IsEmpty()) << "it is being submitted";
  SubmittedWith(Round(0), absl::OkStatus());
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("submit run-1cd1 0.1"));
}

TEST_F(ClientStateTest, OffersAContributionAgainWhileTheCoordinatorIsAway) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  EXPECT_THAT(SubmittedWith(Round(0), absl::UnavailableError("no answer")), IsEmpty());
  ASSERT_TRUE(client_.wake_at().has_value());
  EXPECT_THAT(AfterTime(*client_.wake_at() - now_.monotonic), ElementsAre("submit run-1cd1 0.1"));
}

TEST_F(ClientStateTest, OffersAContributionAgainWhenTheTimeOfDayWasSetBack) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  SubmittedWith(Round(0), absl::UnavailableError("no answer"));
  now_.time_of_day -= absl::Hours(1);
  EXPECT_THAT(AfterTime(absl::Seconds(5)), ElementsAre("submit run-1cd1 0.1"));
}

TEST_F(ClientStateTest, SubmitsAtOnceWhenTheCoordinatorIsBack) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  SubmittedWith(Round(0), absl::UnavailableError("no answer"));
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("submit run-1cd1 0.1"));
  EXPECT_EQ(client_.wake_at(), std::nullopt);
}

TEST_F(ClientStateTest, TellsUpToWhichRoundItHasAgreedOnSurvivorsIfThatIsWhy) {
  Accept();
  Assigned(Round(1));
  TrainedWith(Round(1), absl::OkStatus());
  EXPECT_THAT(SubmittedWith(Round(1), WithAgreedRounds(absl::AbortedError("burnt"), 4)),
              ElementsAre("failed run-1cd1 1.1: burnt, agreed in 4 rounds"));
  EXPECT_THAT(Assigned(Round(1)), ElementsAre("failed run-1cd1 1.1: burnt, agreed in 4 rounds"));
  Assigned(Round(2));
  TrainedWith(Round(2), absl::OkStatus());
  EXPECT_THAT(SubmittedWith(Round(2), absl::AbortedError("no space")),
              ElementsAre("failed run-1cd1 2.1: no space"));
}

TEST_F(ClientStateTest, TellsAFailureAndTellsItAgain) {
  Accept();
  Assigned(Round(0));
  EXPECT_THAT(TrainedWith(Round(0), absl::ResourceExhaustedError("out of memory")),
              ElementsAre("failed run-1cd1 0.1: out of memory"));
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("failed run-1cd1 0.1: out of memory"));
}

TEST_F(ClientStateTest, TellsThatItsContributionWasRefused) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  EXPECT_THAT(SubmittedWith(Round(0), absl::InvalidArgumentError("wrong layout")),
              ElementsAre("failed run-1cd1 0.1: wrong layout"));
}

TEST_F(ClientStateTest, SaysNothingWhenTheRoundClosedBeforeItsContribution) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  EXPECT_THAT(SubmittedWith(Round(0), absl::FailedPreconditionError("closed")), IsEmpty());
  EXPECT_EQ(client_.wake_at(), std::nullopt);
}

TEST_F(ClientStateTest, StopsWhenTheRoundCloses) {
  Accept();
  Assigned(Round(0));
  EXPECT_THAT(Closed(Round(0)), ElementsAre("stop"));
  EXPECT_THAT(TrainedWith(Round(0), absl::CancelledError("stopped")), IsEmpty());
}

TEST_F(ClientStateTest, StopsALongSubmissionWhoseRoundHasClosed) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  EXPECT_THAT(Closed(Round(0)), IsEmpty()) << "its answer may be on the way";
  ASSERT_TRUE(client_.wake_at().has_value());
  EXPECT_THAT(AfterTime(*client_.wake_at() - now_.monotonic),
              ElementsAre("stop submitting run-1cd1 0.1"));
  EXPECT_THAT(SubmittedWith(Round(0), absl::CancelledError("stopped")), IsEmpty());
  EXPECT_EQ(client_.wake_at(), std::nullopt);
}

TEST_F(ClientStateTest, StopsALongSubmissionWhoseAttemptIsOver) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  EXPECT_THAT(Assigned(Round(0, 2)), ElementsAre("train run-1cd1 0.2"));
  EXPECT_THAT(AfterTime(absl::Seconds(10)), ElementsAre("stop submitting run-1cd1 0.1"));
}

TEST_F(ClientStateTest, StopsALongSubmissionWhoseRunHasEnded) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  EXPECT_THAT(Ended(), ElementsAre("forget run-1cd1"));
  EXPECT_THAT(AfterTime(absl::Seconds(10)), ElementsAre("stop submitting run-1cd1 0.1"));
}

TEST_F(ClientStateTest, StopsNoSubmissionThatIsAnsweredAfterTheNextRoundHasBegun) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  Assigned(Round(1));
  SubmittedWith(Round(0), absl::OkStatus());
  EXPECT_EQ(client_.wake_at(), std::nullopt);
  EXPECT_THAT(AfterTime(absl::Minutes(1)), IsEmpty());
}

TEST_F(ClientStateTest, StopsNoSubmissionThatIsWantedAgain) {
  Accept();
  Assigned(Round(0));
  TrainedWith(Round(0), absl::OkStatus());
  Closed(Round(0));
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("train run-1cd1 0.1"));
  EXPECT_THAT(TrainedWith(Round(0), absl::OkStatus()), ElementsAre("submit run-1cd1 0.1"));
  EXPECT_THAT(AfterTime(absl::Minutes(1)), IsEmpty());
}

TEST_F(ClientStateTest, ANewAttemptReplacesTheOldOneAndWaitsForItToStop) {
  Accept();
  Assigned(Round(0));
  EXPECT_THAT(Assigned(Round(0, 2)),
              ElementsAre("stop", HasSubstr("waiting run-1cd1 0.2: another run")));
  EXPECT_THAT(TrainedWith(Round(0), absl::CancelledError("stopped")),
              ElementsAre("train run-1cd1 0.2"));
}

TEST_F(ClientStateTest, IgnoresTheClosingOfAnotherRound) {
  Accept();
  Assigned(Round(1));
  EXPECT_THAT(Closed(Round(0)), IsEmpty());
  EXPECT_THAT(Closed(Round(1, 2)), IsEmpty());
}

TEST_F(ClientStateTest, ForgetsARunThatHasEnded) {
  Accept();
  Assigned(Round(0));
  EXPECT_THAT(Ended(), ElementsAre("forget run-1cd1", "stop"));
  EXPECT_THAT(TrainedWith(Round(0), absl::CancelledError("stopped")), IsEmpty());
}

TEST_F(ClientStateTest, KeepsNothingThatAnEarlierProcessStoredOfARunThatEnds) {
  EXPECT_THAT(Ended(), ElementsAre("forget run-1cd1"));
}

TEST_F(ClientStateTest, ForgetsARunThatEndedWhileItWasAway) {
  Accept(kIcd);
  Accept(kNotes);
  Assigned(Round(0));
  EXPECT_THAT(Welcomed(Runs{kNotes}),
              ElementsAre("forget run-1cd1", "stop", "keep only [run-0072]"));
  EXPECT_THAT(Assigned(Round(0, 1, kNotes)),
              ElementsAre("waiting run-0072 0.1: another run is trained first"));
  EXPECT_THAT(TrainedWith(Round(0), absl::CancelledError("stopped")),
              ElementsAre("train run-0072 0.1"));
}

TEST_F(ClientStateTest, KeepsNothingThatAnEarlierProcessStoredOfRunsThatHaveEnded) {
  EXPECT_THAT(Welcomed(Runs{}), ElementsAre("keep only []"));
}

TEST_F(ClientStateTest, KeepsWhatAnEarlierProcessStoredOfRunsThatAreUnderWay) {
  EXPECT_THAT(Welcomed(Runs{kIcd, kNotes}), ElementsAre("keep only [run-1cd1 run-0072]"));
}

TEST_F(ClientStateTest, KeepsItsRunsWhenTheCoordinatorIsGoneAgainBeforeItHasInvited) {
  Accept();
  Assigned(Round(0));
  Welcomed(Runs{kIcd});
  EXPECT_THAT(AfterTime(absl::Hours(1)), IsEmpty());
  EXPECT_THAT(TrainedWith(Round(0), absl::OkStatus()), ElementsAre("submit run-1cd1 0.1"));
}

TEST_F(ClientStateTest, ForgetsNothingWhereTheCoordinatorDoesNotSayWhatIsUnderWay) {
  Accept();
  Assigned(Round(0));
  EXPECT_THAT(WelcomedByAnOlderCoordinator(), IsEmpty());
  EXPECT_THAT(AfterTime(absl::Hours(1)), IsEmpty());
}

TEST_F(ClientStateTest, ForgetsTheStudyOfARunThatHasEnded) {
  Invited();
  Ended();
  EXPECT_THAT(StudiedAndAccepted(), ElementsAre("forget run-1cd1"));
}

TEST_F(ClientStateTest, TrainsOneRunAtATimeInOrderOfArrival) {
  Accept(kIcd);
  Accept(kNotes);
  Assigned(Round(0));
  EXPECT_THAT(Assigned(Round(0, 1, kNotes)),
              ElementsAre("waiting run-0072 0.1: another run is trained first"));
  EXPECT_THAT(TrainedWith(Round(0), absl::OkStatus()),
              ElementsAre("submit run-1cd1 0.1", "train run-0072 0.1"));
}

TEST_F(ClientStateTest, AQueuedRoundThatClosesIsNotTrained) {
  Accept(kIcd);
  Accept(kNotes);
  Assigned(Round(0));
  Assigned(Round(0, 1, kNotes));
  EXPECT_THAT(Closed(Round(0, 1, kNotes)), IsEmpty());
  EXPECT_THAT(TrainedWith(Round(0), absl::OkStatus()), ElementsAre("submit run-1cd1 0.1"));
}

// Which may be told but once.
TEST_F(ClientStateTest, TellsTheBeginningOfAPhaseAtOnce) {
  Accept();
  Assigned(Round(0));
  EXPECT_THAT(At(Round(0), 0.25), ElementsAre("training run-1cd1 0.1: 0.25"));
  EXPECT_THAT(After(Report(Progressed{{.id = Round(0), .phase = WorkPhase::kEvaluating}})),
              ElementsAre("evaluating run-1cd1 0.1: 0"));
}

TEST_F(ClientStateTest, TellsProgressAtMostTwiceASecond) {
  Accept();
  Assigned(Round(0));
  EXPECT_THAT(At(Round(0), 0.25), ElementsAre("training run-1cd1 0.1: 0.25"));
  EXPECT_THAT(At(Round(0), 0.5), IsEmpty());
  Pass(kSecond);
  EXPECT_THAT(At(Round(0), 0.75), ElementsAre("training run-1cd1 0.1: 0.75"));
}

TEST_F(ClientStateTest, TellsProgressWhenTheTimeOfDayWasSetBack) {
  Accept();
  Assigned(Round(0));
  At(Round(0), 0.25);
  Pass(kSecond);
  now_.time_of_day -= absl::Hours(1);
  EXPECT_THAT(At(Round(0), 0.75), ElementsAre("training run-1cd1 0.1: 0.75"));
}

TEST_F(ClientStateTest, TellsNoProgressOfWorkThatWasStopped) {
  Accept();
  Assigned(Round(0));
  Closed(Round(0));
  EXPECT_THAT(At(Round(0), 0.5), IsEmpty());
}

}  // namespace
}  // namespace fedtune::testing
