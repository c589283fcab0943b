// SPDX-License-Identifier: Apache-2.0

#include "client/round/client_state.h"

#include "client/storage/agreed_rounds.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "gmock/gmock.h"

namespace fedtune {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Runs = std::vector<std::string>;

// Two runs that a hospital takes part in.
constexpr char kIcd[] = "run-1cd1";
constexpr char kNotes[] = "run-0072";

constexpr absl::Duration kSecond = absl::Seconds(1);

AttemptId Round(int64_t round, int64_t attempt = 1, std::string run = kIcd) {
  return {.run = std::move(run), .round = round, .attempt = attempt};
}

std::string Text(const AttemptId& id) {
  return fmt::format("{} {}.{}", id.run, id.round, id.attempt);
}

std::string Text(const Reply& reply) {
  if (const auto* answer = std::get_if<InvitationAnswer>(&reply)) {
    return answer->accepted ? fmt::format("accept {}", answer->run)
                            : fmt::format("decline {}: {}", answer->run, answer->reason);
  }
  if (const auto* failed = std::get_if<AttemptFailed>(&reply)) {
    std::string failure = fmt::format("failed {}: {}", Text(failed->id), failed->reason);
    if (failed->agreed_rounds == 0) return failure;
    return failure + fmt::format(", agreed in {} rounds", failed->agreed_rounds);
  }
  const auto& progress = std::get<WorkProgress>(reply);
  const std::string what =
      progress.note.empty() ? fmt::format("{}", progress.fraction) : progress.note;
  return fmt::format("{} {}: {}", ToString(progress.phase), Text(progress.id), what);
}

// A duty in one line, so that stories read as such.
std::string Text(const Duty& duty) {
  if (const auto* reply = std::get_if<SendReply>(&duty)) return Text(reply->reply);
  if (const auto* study = std::get_if<Study>(&duty)) return "study " + study->invitation.run;
  if (const auto* train = std::get_if<Train>(&duty)) return "train " + Text(train->assignment.id);
  if (const auto* submit = std::get_if<Submit>(&duty)) return "submit " + Text(submit->id);
  if (const auto* forget = std::get_if<Forget>(&duty)) return "forget " + forget->run;
  if (const auto* answer = std::get_if<Answer>(&duty)) {
    return fmt::format("answer {} in {}", answer->message[0], Text(answer->assignment.id));
  }
  if (const auto* end = std::get_if<EndAggregation>(&duty)) return "end aggregation " + end->run;
  if (const auto* only = std::get_if<KeepOnly>(&duty)) {
    return fmt::format("keep only [{}]", fmt::join(only->runs, " "));
  }
  if (const auto* stop = std::get_if<StopSubmitting>(&duty))
    return "stop submitting " + Text(stop->id);
  if (std::holds_alternative<StopTraining>(duty)) return "stop";
  if (std::holds_alternative<PauseTraining>(duty)) return "pause";
  return "resume";
}

// A hospital's client whose clock the story moves.
class ClientStateTest : public ::testing::Test {
 protected:
  explicit ClientStateTest(Hours hours = {}) : client_(hours, absl::UTCTimeZone()) {}

  template <typename Input>
  std::vector<std::string> After(const Input& input) {
    return Lines(client_.Receive(input, now_));
  }

  void Pass(absl::Duration time) {
    now_.time_of_day += time;
    now_.monotonic += time;
  }
  std::vector<std::string> AfterTime(absl::Duration passed) {
    Pass(passed);
    return Lines(client_.Tick(now_));
  }

  std::vector<std::string> Welcomed(std::optional<Runs> under_way) {
    return Lines(client_.Welcomed({.runs_under_way = std::move(under_way)}, now_));
  }
  std::vector<std::string> WelcomedByAnOlderCoordinator() { return Welcomed(std::nullopt); }
  std::vector<std::string> Invited(const std::string& run = kIcd) {
    return After(Instruction(Invitation{.run = run, .plan_toml = "name = \"icd\""}));
  }
  std::vector<std::string> StudiedAndAccepted(const std::string& run = kIcd) {
    return After(Report(Studied{{.run = run, .accepted = true, .example_count = 100}}));
  }
  std::vector<std::string> Assigned(const AttemptId& id) {
    return After(Instruction(Assignment{.id = id}));
  }
  // As a coordinator asks that was restored and has made other adapters since.
  std::vector<std::string> AssignedFromAnotherAdapter(const AttemptId& id) {
    return After(Instruction(Assignment{.id = id, .adapter = Sha256Of("another")}));
  }
  std::vector<std::string> TrainedWith(const AttemptId& id, absl::Status status) {
    return After(Report(Trained{id, std::move(status)}));
  }
  std::vector<std::string> SubmittedWith(const AttemptId& id, absl::Status status) {
    return After(Report(Submitted{id, std::move(status)}));
  }
  std::vector<std::string> Closed(const AttemptId& id) {
    return After(Instruction(RoundOver{id, "deadline"}));
  }
  std::vector<std::string> Ended(const std::string& run = kIcd) {
    return After(Instruction(RunOver{run, "finished", ""}));
  }
  std::vector<std::string> At(const AttemptId& id, double fraction) {
    return After(
        Report(Progressed{{.id = id, .phase = WorkPhase::kTraining, .fraction = fraction}}));
  }

  void Accept(const std::string& run = kIcd) {
    Invited(run);
    StudiedAndAccepted(run);
  }

  ClientState client_;
  Moment now_{.time_of_day = absl::FromCivil(absl::CivilHour(2026, 3, 1, 12), absl::UTCTimeZone()),
              .monotonic = absl::Hours(1000)};

 private:
  static std::vector<std::string> Lines(const Duties& duties) {
    std::vector<std::string> lines;
    for (const Duty& duty : duties) lines.push_back(Text(duty));
    return lines;
  }
};

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

class NightlyClientStateTest : public ClientStateTest {
 protected:
  NightlyClientStateTest() : ClientStateTest(*Hours::Parse("20:00-06:00")) {}
};

TEST_F(NightlyClientStateTest, WaitsForItsHours) {
  Accept();
  EXPECT_THAT(Assigned(Round(0)),
              ElementsAre("waiting run-1cd1 0.1: waiting for its hours (20:00-06:00), 8 h"));
  EXPECT_EQ(client_.wake_at(), now_.monotonic + absl::Hours(8));
  EXPECT_THAT(AfterTime(absl::Hours(1)), IsEmpty()) << "it has been told";
  EXPECT_THAT(AfterTime(absl::Hours(7)), ElementsAre("train run-1cd1 0.1"));
}

TEST_F(NightlyClientStateTest, TellsAgainWhyItWaitsAfterAReconnect) {
  Accept();
  Assigned(Round(0));
  EXPECT_THAT(Assigned(Round(0)), ElementsAre(HasSubstr("waiting for its hours")));
}

TEST_F(NightlyClientStateTest, StandsStillOutsideItsHours) {
  Pass(absl::Hours(17));
  Accept();
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("train run-1cd1 0.1"));
  EXPECT_EQ(client_.wake_at(), now_.monotonic + absl::Hours(1)) << "they end at six";
  EXPECT_THAT(AfterTime(absl::Hours(1)),
              ElementsAre("pause", HasSubstr("waiting for its hours (20:00-06:00), 14 h")));
  EXPECT_THAT(At(Round(0), 0.5), IsEmpty());
  EXPECT_THAT(AfterTime(absl::Hours(14)), ElementsAre("resume", "training run-1cd1 0.1: 0.5"));
}

TEST_F(NightlyClientStateTest, GoesByTheTimeOfDayAsItIsNow) {
  Accept();
  Assigned(Round(0));
  now_.time_of_day += absl::Hours(9);
  EXPECT_THAT(AfterTime(kSecond), ElementsAre("train run-1cd1 0.1"));
}

TEST_F(NightlyClientStateTest, StopsWorkThatStandsStill) {
  Pass(absl::Hours(17));
  Accept();
  Assigned(Round(0));
  AfterTime(absl::Hours(1));
  EXPECT_THAT(Closed(Round(0)), ElementsAre("stop"));
  EXPECT_THAT(AfterTime(absl::Hours(14)), IsEmpty()) << "nothing is to be resumed";
}

TEST_F(NightlyClientStateTest, SubmitsOutsideItsHours) {
  Pass(absl::Hours(17));
  Accept();
  Assigned(Round(0));
  Pass(absl::Hours(1));
  EXPECT_THAT(TrainedWith(Round(0), absl::OkStatus()), ElementsAre("submit run-1cd1 0.1"));
}

// A hospital in a run that aggregates securely.
class SecureClientStateTest : public ClientStateTest {
 protected:
  SecureClientStateTest() { Invited(); }

  std::vector<std::string> Studied() {
    return After(Report(fedtune::Studied{{.run = kIcd, .accepted = true, .secure = true}}));
  }
  std::vector<std::string> Heard(const AttemptId& id, uint8_t kind) {
    return After(Instruction(SecureMessage{.id = id, .message = {kind}}));
  }
  void Begin() {
    Studied();
    Assigned(Round(0));
    TrainedWith(Round(0), absl::OkStatus());
  }
};

TEST_F(SecureClientStateTest, GoesThroughARound) {
  Begin();
  EXPECT_THAT(Heard(Round(0), 2), ElementsAre("answer 2 in run-1cd1 0.1"));
  EXPECT_THAT(Heard(Round(0), 8), ElementsAre("answer 8 in run-1cd1 0.1"));
  EXPECT_THAT(SubmittedWith(Round(0), absl::OkStatus()), IsEmpty());
  EXPECT_THAT(Heard(Round(0), 8), ElementsAre("answer 8 in run-1cd1 0.1")) << "asked again";
}

// Its keys are for the model that the other adapter makes.
TEST_F(SecureClientStateTest, AnAttemptThatItHasBegunIsNotBegunAnewFromAnotherAdapter) {
  Begin();
  EXPECT_THAT(AssignedFromAnotherAdapter(Round(0)),
              ElementsAre("end aggregation run-1cd1", HasSubstr("failed run-1cd1 0.1: ")));
  EXPECT_THAT(Assigned(Round(0, 2)), ElementsAre("end aggregation run-1cd1", "train run-1cd1 0.2"));
}

TEST_F(SecureClientStateTest, SaysWhatItSaidLastWhenTheAssignmentIsRepeated) {
  Begin();
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("submit run-1cd1 0.1"));
  SubmittedWith(Round(0), absl::OkStatus());
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("submit run-1cd1 0.1"));
}

TEST_F(SecureClientStateTest, IgnoresMessagesOfAnotherAttempt) {
  Begin();
  EXPECT_THAT(Heard(Round(0, 2), 2), IsEmpty());
  EXPECT_THAT(Heard(Round(1), 2), IsEmpty());
  EXPECT_THAT(Heard(Round(0, 1, kNotes), 2), IsEmpty());
}

TEST_F(SecureClientStateTest, IgnoresMessagesInAPlainRun) {
  Accept(kNotes);
  Assigned(Round(0, 1, kNotes));
  EXPECT_THAT(Heard(Round(0, 1, kNotes), 2), IsEmpty());
}

TEST_F(SecureClientStateTest, AnswersForAnEarlierProcessWhenTheRunIsStudied) {
  Assigned(Round(0));
  EXPECT_THAT(Heard(Round(0), 6), IsEmpty());
  EXPECT_THAT(Studied(),
              ElementsAre("accept run-1cd1", "answer 6 in run-1cd1 0.1", "train run-1cd1 0.1"));
  EXPECT_THAT(Heard(Round(0), 8), ElementsAre("answer 8 in run-1cd1 0.1"));
  EXPECT_THAT(SubmittedWith(Round(0), absl::OkStatus()), ElementsAre("stop"));
  EXPECT_THAT(TrainedWith(Round(0), absl::CancelledError("stopped")), IsEmpty());
}

TEST_F(SecureClientStateTest, StopsTrainingWhenTheAggregationOfAnEarlierProcessFails) {
  Studied();
  Assigned(Round(0));
  EXPECT_THAT(SubmittedWith(Round(0), absl::UnavailableError("disk full")), IsEmpty());
  EXPECT_THAT(SubmittedWith(Round(0), absl::AbortedError("two stories")),
              ElementsAre("stop", "failed run-1cd1 0.1: two stories"));
}

TEST_F(SecureClientStateTest, TellsWhyItsAggregationWasGivenUpAndHearsNothingMore) {
  Begin();
  EXPECT_THAT(SubmittedWith(Round(0), absl::AbortedError("two stories")),
              ElementsAre("failed run-1cd1 0.1: two stories"));
  EXPECT_THAT(Heard(Round(0), 8), IsEmpty());
  EXPECT_THAT(Assigned(Round(0)), ElementsAre("failed run-1cd1 0.1: two stories"));
}

TEST_F(SecureClientStateTest, TriesAgainWhenTheDiskWasFull) {
  Begin();
  EXPECT_THAT(SubmittedWith(Round(0), absl::UnavailableError("disk full")), IsEmpty());
  EXPECT_THAT(AfterTime(absl::Seconds(5)), ElementsAre("submit run-1cd1 0.1"));
}

TEST_F(SecureClientStateTest, EndsTheAggregationOfARoundThatIsOver) {
  Begin();
  EXPECT_THAT(Closed(Round(0)), ElementsAre("end aggregation run-1cd1"));
  EXPECT_THAT(Heard(Round(0), 8), IsEmpty());
}

TEST_F(SecureClientStateTest, EndsTheAggregationWhenANewAttemptBegins) {
  Begin();
  EXPECT_THAT(Assigned(Round(0, 2)), ElementsAre("end aggregation run-1cd1", "train run-1cd1 0.2"));
}

}  // namespace
}  // namespace fedtune
