// SPDX-License-Identifier: Apache-2.0

// Runs in which someone is late, fails, goes away, or says what it should not.

#include "coordinator/rounds/run.h"
#include "tests/support/run_fixture.h"
#include "tests/support/run_journal.h"

namespace fedtune::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

// ---- Invitations ----

TEST_F(RunTest, StartsWithoutASilentClientAtTheInvitationTimeout) {
  Start({kCharite, kUke, kHelios});
  Accept(kCharite);
  Accept(kUke);
  EXPECT_THAT(Advance(absl::Seconds(59)), IsEmpty());
  EXPECT_THAT(Advance(absl::Seconds(1)),
              ElementsAre("open 0.1: B", "assign charite 0.1: train B, evaluate",
                          "assign uke 0.1: train B, evaluate"));
}

TEST_F(RunTest, WaitsOnAfterTheTimeoutUntilTheQuorumIsFull) {
  Start({kCharite, kUke, kHelios});
  Accept(kCharite);
  EXPECT_THAT(Advance(absl::Minutes(1)), IsEmpty());
  EXPECT_EQ(run_->deadline(), now_ + absl::Minutes(59));
  EXPECT_THAT(Accept(kHelios), Contains("open 0.1: B"));
}

TEST_F(RunTest, FailsWhenTheQuorumNeverAccepts) {
  Start({kCharite, kUke});
  Accept(kCharite);
  Advance(absl::Minutes(1));
  EXPECT_THAT(Advance(absl::Minutes(59)),
              Contains("end failed: 1 of the 2 institutions needed accepted; uke did not answer"));
}

TEST_F(RunTest, FailsAtOnceWhenTooManyDecline) {
  Start({kCharite, kUke});
  Accept(kCharite);
  EXPECT_THAT(Does(kUke, RunDeclined{"rank 16 is above its maximum of 8"}),
              ElementsAre("end failed: 1 of the 2 institutions needed accepted; uke declined: rank "
                          "16 is above its maximum of 8",
                          "tell charite failed: 1 of the 2 institutions needed accepted; uke "
                          "declined: rank 16 is above its maximum of 8"));
}

// Of what it does the journal has the beginning only, so a new process would not know.
TEST_F(RunTest, WhoComesAndGoesAllTheTimeIsWaitedForInTheFinalEvaluationAlsoInANewProcess) {
  plan_.rounds.count = 1;
  StartWith({kCharite, kUke});
  Contribute(kCharite);
  Contribute(kUke);
  RunJournal journal;
  journal.Follow(now_, run_->Receive(Released{0, AdapterOf(1)}, now_));
  const auto notes = [&](ClientEvent event) {
    if (run_->Heeds(kUke, event)) journal.Write(now_, ReceivedFromClient{kUke, event});
    Does(kUke, std::move(event));
  };
  notes(ClientConnected());  // Its new session takes the old one's place.
  for (int i = 0; i < 100; ++i) {
    notes(ClientDisconnected());
    notes(ClientConnected());
  }
  now_ += absl::Minutes(3);
  journal.Write(now_, TimeIsUp());
  EXPECT_THAT(Lines(run_->Tick(now_)), IsEmpty());
  notes(ContributionTaken{Header(kUke)});

  fedtune::Run::Options options = Options({});
  options.adapter = AdapterOf(1);
  options.resume = ResumePoint{
      .rounds_done = 1, .clients = ClientsOf(run_->view()), .journal = journal.Restart(now_)};
  Start(std::move(options));
  EXPECT_EQ(ViewOf(kUke).state, ClientStanding::kDone);
  EXPECT_EQ(run_->view().phase, RunPhase::kEvaluating);
}

TEST_F(RunTest, WhoChangesItsMindAgainAndAgainIsHeardInTheNextAttempt) {
  StartWith({kCharite, kUke, kHelios});
  for (int i = 0; i < 100; ++i) {
    Does(kHelios, RunDeclined{"no"});
    Accept(kHelios);
  }
  Does(kHelios, RunDeclined{"no more"});
  EXPECT_NE(ViewOf(kHelios).reason, "no more");
  Advance(absl::Hours(1));
  ASSERT_EQ(run_->view().attempt, 2);
  Does(kHelios, RunDeclined{"no more"});
  EXPECT_EQ(ViewOf(kHelios).state, ClientStanding::kDeclined);
  EXPECT_EQ(ViewOf(kHelios).reason, "no more");
}

TEST_F(RunTest, GoesOnWithoutOneThatDeclined) {
  Start({kCharite, kUke, kHelios});
  Accept(kCharite);
  Accept(kUke);
  Does(kHelios, RunDeclined{"not this model"});
  EXPECT_EQ(run_->state(), RunState::kRunning);
  EXPECT_EQ(ViewOf(kHelios).state, ClientStanding::kDeclined);
  EXPECT_EQ(ViewOf(kHelios).reason, "not this model");
}

TEST_F(RunTest, HearsSixteenAnswersOfAClientInAnAttempt) {
  StartWith({kCharite, kUke, kHelios});
  for (int i = 0; i < 1'000; ++i) Does(kHelios, RunDeclined{fmt::format("no {}", i)});
  EXPECT_EQ(ViewOf(kHelios).reason, "no 15");
  EXPECT_FALSE(run_->Heeds(kHelios, RunDeclined{"no"}));
  EXPECT_FALSE(run_->Heeds(kHelios, RunAccepted{100}));
  Contribute(kCharite);
  Contribute(kUke);
  ReleaseDone();
  EXPECT_TRUE(run_->Heeds(kHelios, RunAccepted{100}));
  Accept(kHelios);
  EXPECT_EQ(ViewOf(kHelios).state, ClientStanding::kWaiting);
}

TEST_F(RunTest, TreatsAnImpossibleNumberOfRecordsAsDeclining) {
  Start({kCharite, kUke, kHelios});
  Accept(kCharite, 0);
  EXPECT_EQ(ViewOf(kCharite).state, ClientStanding::kDeclined);
  Accept(kUke, int64_t{1} << 41);
  EXPECT_THAT(ViewOf(kUke).reason, HasSubstr("2199023255552 records"));
}

// ---- Late and lost clients ----

TEST_F(RunTest, InvitesALateClientAndTakesItFromTheNextRound) {
  StartWith({kCharite, kUke});
  EXPECT_THAT(Does(kHelios, ClientConnected{}), ElementsAre("invite helios"));
  EXPECT_THAT(Accept(kHelios), IsEmpty());
  EXPECT_THAT(run_->CheckContribution(kHelios, Header(kHelios)),
              HasCode(absl::StatusCode::kPermissionDenied));
  Contribute(kCharite);
  Contribute(kUke);
  EXPECT_THAT(ReleaseDone(), Contains("assign helios 1.1: train A"));
}

TEST_F(RunTest, WaitsForAClientThatDiedUntilTheDeadline) {
  StartWith({kCharite, kUke, kHelios});
  Does(kHelios, ClientDisconnected{});
  Contribute(kCharite);
  EXPECT_THAT(Contribute(kUke), IsEmpty());
  EXPECT_EQ(ViewOf(kHelios).state, ClientStanding::kOffline);
  EXPECT_THAT(Advance(absl::Hours(1)), ElementsAre("release 0.1: B of 2 contributions"));
}

TEST_F(RunTest, RepeatsInvitationAndWorkForAClientThatComesBack) {
  StartWith({kCharite, kUke});
  Does(kUke, ClientDisconnected{});
  EXPECT_THAT(Does(kUke, ClientConnected{}),
              ElementsAre("invite uke", "assign uke 0.1: train B, evaluate"));
}

TEST_F(RunTest, AsksNothingTwiceOfAClientThatHasContributed) {
  StartWith({kCharite, kUke});
  Contribute(kUke);
  EXPECT_THAT(Does(kUke, ClientConnected{}), ElementsAre("invite uke"));
}

TEST_F(RunTest, LeavesOutOfflineClientsFromTheNextRound) {
  StartWith({kCharite, kUke, kHelios});
  Does(kHelios, ClientDisconnected{});
  Contribute(kCharite);
  Contribute(kUke);
  Advance(absl::Hours(1));
  EXPECT_THAT(ReleaseDone(),
              ElementsAre("open 1.1: A", "assign charite 1.1: train A", "assign uke 1.1: train A"));
  Contribute(kCharite);
  EXPECT_THAT(Contribute(kUke), ElementsAre("release 1.1: A of 2 contributions"));
}

TEST_F(RunTest, WaitsForOfflineClientsWhenTheOthersAreNoQuorum) {
  StartWith({kCharite, kUke});
  Contribute(kCharite);
  Contribute(kUke);
  Does(kUke, ClientDisconnected{});
  EXPECT_THAT(ReleaseDone(), ElementsAre("open 1.1: A", "assign charite 1.1: train A"));
  EXPECT_THAT(Does(kUke, ClientConnected{}), ElementsAre("invite uke", "assign uke 1.1: train A"));
}

TEST_F(RunTest, TakesAContributionOfAClientWhoseSessionIsGone) {
  StartWith({kCharite, kUke});
  Contribute(kCharite);
  Does(kUke, ClientDisconnected{});
  EXPECT_THAT(Contribute(kUke), ElementsAre("release 0.1: B of 2 contributions"));
}

class FinalEvaluationTest : public RunTest {
 protected:
  // Charité has evaluated, the UKE is at it.
  FinalEvaluationTest() {
    plan_.rounds.count = 1;
    StartWith({kCharite, kUke});
    Contribute(kCharite);
    Contribute(kUke);
    ReleaseDone();
    Contribute(kCharite);
  }
};

TEST_F(FinalEvaluationTest, WaitsOnlyAMomentForAClientThatGoesAway) {
  EXPECT_THAT(Does(kUke, ClientDisconnected{}), IsEmpty());
  EXPECT_EQ(run_->deadline(), now_ + absl::Minutes(2));
  EXPECT_THAT(Advance(absl::Minutes(2)), ElementsAre("end finished", "tell charite finished"));
}

TEST_F(FinalEvaluationTest, GivesAClientThatComesBackItsWorkAgain) {
  Does(kUke, ClientDisconnected{});
  EXPECT_THAT(Does(kUke, ClientConnected{}), ElementsAre("invite uke", "assign uke 1.1: evaluate"));
  EXPECT_THAT(Advance(absl::Minutes(2)), IsEmpty());
  EXPECT_EQ(run_->deadline(), now_ + absl::Minutes(58));
  EXPECT_THAT(Contribute(kUke), Contains("end finished"));
}

TEST_F(FinalEvaluationTest, TakesWhatAClientHandsInWhoseSessionIsGone) {
  Does(kUke, ClientDisconnected{});
  EXPECT_THAT(Contribute(kUke), Contains("end finished"));
}

TEST_F(FinalEvaluationTest, NeverLastsLongerThanARound) {
  Advance(absl::Minutes(59));
  Does(kUke, ClientDisconnected{});
  EXPECT_THAT(Advance(absl::Minutes(1)), Contains("end finished"));
}

TEST_F(RunTest, EndsTheFinalEvaluationAtTheDeadline) {
  plan_.rounds.count = 1;
  StartWith({kCharite, kUke});
  Contribute(kCharite);
  Contribute(kUke);
  ReleaseDone();
  EXPECT_THAT(Advance(absl::Hours(1)),
              Contains("end finished: the final evaluation is missing: charite did not answer; "
                       "uke did not answer"));
}

// ---- Failures and second attempts ----

TEST_F(RunTest, DoesNotWaitForAClientThatFailed) {
  StartWith({kCharite, kUke, kHelios});
  Fail(kHelios);
  EXPECT_EQ(ViewOf(kHelios).state, ClientStanding::kFailed);
  EXPECT_EQ(ViewOf(kHelios).reason, "out of memory");
  Contribute(kCharite);
  EXPECT_THAT(Contribute(kUke), ElementsAre("release 0.1: B of 2 contributions"));
  EXPECT_THAT(ReleaseDone(), Contains("assign helios 1.1: train A"));
}

TEST_F(RunTest, ClosesTheRoundForThoseThatAreLate) {
  StartWith({kCharite, kUke, kHelios});
  Contribute(kCharite);
  Contribute(kUke);
  EXPECT_THAT(Advance(absl::Hours(1)),
              ElementsAre("close helios 0.1: round 1 closed with 2 contributions",
                          "release 0.1: B of 2 contributions"));
  EXPECT_THAT(run_->CheckContribution(kHelios, Header(kHelios)), HasCode(kPrecondition));
}

TEST_F(RunTest, TriesARoundAgainThatHasNoQuorumAtTheDeadline) {
  StartWith({kCharite, kUke, kHelios});
  Contribute(kCharite);
  EXPECT_THAT(
      Advance(absl::Hours(1)),
      ElementsAre("close helios 0.1: round 1 had too few contributions and is tried again",
                  "close uke 0.1: round 1 had too few contributions and is tried again",
                  "open 0.2: B", "assign charite 0.2: train B, evaluate",
                  "assign helios 0.2: train B, evaluate", "assign uke 0.2: train B, evaluate"));
  EXPECT_EQ(run_->deadline(), now_ + absl::Hours(1));
}

TEST_F(RunTest, DiscardsTheContributionsOfTheFirstAttempt) {
  StartWith({kCharite, kUke});
  Contribute(kCharite);
  Advance(absl::Hours(1));
  EXPECT_THAT(Contribute(kUke), IsEmpty());  // One of two again.
  EXPECT_THAT(Contribute(kCharite), ElementsAre("release 0.2: B of 2 contributions"));
}

TEST_F(RunTest, TriesAgainAtOnceWhenTheQuorumCannotBeReached) {
  StartWith({kCharite, kUke});
  EXPECT_THAT(Fail(kUke), Contains("open 0.2: B"));
}

TEST_F(RunTest, FailsAfterTheSecondAttemptAndNamesWhoWasMissing) {
  StartWith({kCharite, kUke, kHelios});
  Advance(absl::Hours(1));
  Fail(kHelios);
  Contribute(kCharite);
  EXPECT_THAT(Advance(absl::Hours(1)),
              Contains("end failed: round 1 had 1 of the 2 contributions it needs: helios failed: "
                       "out of memory; uke did not answer"));
  EXPECT_EQ(run_->state(), RunState::kFailed);
  EXPECT_EQ(run_->deadline(), std::nullopt);
}

TEST_F(RunTest, FailsWhenTooManyLeaveTheRun) {
  StartWith({kCharite, kUke});
  EXPECT_THAT(Does(kUke, RunDeclined{"policy changed"}), Not(Contains("open 0.2: B")));
  EXPECT_EQ(run_->state(), RunState::kFailed);
  EXPECT_EQ(run_->view().reason,
            "round 1 had 0 of the 2 contributions it needs: uke declined: policy changed");
}

TEST_F(RunTest, CountsAttemptsAnewInEveryRound) {
  StartWith({kCharite, kUke});
  Advance(absl::Hours(1));
  Contribute(kCharite);
  Contribute(kUke);
  ReleaseDone();
  Advance(absl::Hours(1));
  EXPECT_EQ(run_->state(), RunState::kRunning);
  EXPECT_EQ(run_->view().attempt, 2);
}

TEST_F(RunTest, IgnoresFailuresOfAnotherRoundOrAttempt) {
  StartWith({kCharite, kUke});
  EXPECT_THAT(Does(kUke, ClientFailed{0, 2, "late"}), IsEmpty());
  EXPECT_THAT(Does(kUke, ClientFailed{1, 1, "early"}), IsEmpty());
  EXPECT_EQ(ViewOf(kUke).state, ClientStanding::kWaiting);
}

TEST_F(RunTest, IgnoresProgressOfAnotherAttemptAndTamesNonsense) {
  StartWith({kCharite, kUke});
  Does(kUke, ProgressReported{.round = 0, .attempt = 2, .phase = ReportedPhase::kTraining});
  EXPECT_EQ(ViewOf(kUke).state, ClientStanding::kWaiting);
  Does(kUke, ProgressReported{.round = 0,
                              .attempt = 1,
                              .phase = ReportedPhase::kTraining,
                              .fraction = std::nan(""),
                              .tokens_per_second = INFINITY});
  EXPECT_EQ(ViewOf(kUke).fraction, 0);
  EXPECT_EQ(ViewOf(kUke).tokens_per_second, 0);
}

TEST_F(RunTest, FailsWhenTheReleaseFails) {
  StartWith({kCharite, kUke});
  Contribute(kCharite);
  Contribute(kUke);
  run_->Receive(ReleaseFailed{"disk full"}, now_);
  EXPECT_EQ(run_->view().reason, "round 1 could not be released: disk full");
}

// ---- Stopping ----

TEST_F(RunTest, StopsInMidRound) {
  StartWith({kCharite, kUke});
  Contribute(kUke);
  EXPECT_THAT(Lines(run_->Receive(StopRequested{"wrong data"}, now_)),
              ElementsAre("end stopped: wrong data", "tell charite stopped: wrong data",
                          "tell uke stopped: wrong data"));
  EXPECT_THAT(run_->CheckContribution(kCharite, Header(kCharite)), HasCode(kPrecondition));
}

TEST_F(RunTest, StopsAfterTheReleaseThatIsUnderWay) {
  StartWith({kCharite, kUke});
  Contribute(kUke);
  Contribute(kCharite);
  EXPECT_THAT(Lines(run_->Receive(StopRequested{"enough"}, now_)), IsEmpty());
  EXPECT_THAT(ReleaseDone(), Contains("end stopped: enough"));
  EXPECT_EQ(run_->view().rounds_done, 1);
  EXPECT_EQ(run_->view().adapter, AdapterOf(1));
}

TEST_F(RunTest, StoppingAnEndedRunDoesNothing) {
  StartWith({kCharite, kUke});
  run_->Receive(StopRequested{"enough"}, now_);
  EXPECT_THAT(run_->Receive(StopRequested{"again"}, now_), IsEmpty());
  EXPECT_EQ(run_->view().reason, "enough");
}

TEST_F(RunTest, TellsAClientThatComesBackThatTheRunIsOver) {
  StartWith({kCharite, kUke});
  Does(kUke, ClientDisconnected{});
  run_->Receive(StopRequested{"enough"}, now_);
  EXPECT_THAT(Does(kUke, ClientConnected{}), ElementsAre("tell uke stopped: enough"));
  EXPECT_THAT(Does(kHelios, ClientConnected{}), IsEmpty());
}

// ---- A new process ----

TEST_F(RunTest, GoesOnWithTheNextRoundAfterARestart) {
  fedtune::Run::Options options = Options({});
  options.adapter = AdapterOf(1);
  options.resume = ResumePoint{.rounds_done = 1,
                               .attempts_opened = 1,
                               .clients = {{.institution = kCharite, .accepted = true},
                                           {.institution = kUke, .accepted = true},
                                           {.institution = kHelios, .declined = true}}};
  options.resume->clients[0].example_count = 30;
  EXPECT_THAT(Start(std::move(options)), ElementsAre("open 1.2: A"));
  EXPECT_THAT(Does(kCharite, ClientConnected{}),
              ElementsAre("invite charite", "assign charite 1.2: train A"));
  EXPECT_EQ(run_->CheckContribution(kCharite, Header(kCharite))->weight, 30);
  EXPECT_THAT(Does(kHelios, ClientConnected{}), ElementsAre("invite helios"));
}

TEST_F(RunTest, WhatWasToStopEndsAfterARestart) {
  fedtune::Run::Options options = Options({});
  options.resume = ResumePoint{.rounds_done = 1,
                               .attempts_opened = 1,
                               .clients = {{.institution = kCharite, .accepted = true},
                                           {.institution = kUke, .accepted = true}},
                               .stop = "wrong data"};
  EXPECT_THAT(Start(std::move(options)), ElementsAre("end stopped: wrong data"));
}

TEST_F(RunTest, GoesOnInvitingAfterARestart) {
  fedtune::Run::Options options = Options({});
  options.resume =
      ResumePoint{.clients = {{.institution = kCharite, .accepted = true}, {.institution = kUke}}};
  options.resume->clients[0].example_count = 30;
  EXPECT_THAT(Start(std::move(options)), IsEmpty());
  EXPECT_THAT(Does(kUke, ClientConnected{}), ElementsAre("invite uke"));
  Does(kCharite, ClientConnected{});
  EXPECT_THAT(Accept(kUke), Contains("assign charite 0.1: train B, evaluate"));
}

TEST_F(RunTest, GoesOnWithTheFinalEvaluationAfterARestart) {
  fedtune::Run::Options options = Options({kCharite});
  options.resume = ResumePoint{.rounds_done = 3,
                               .clients = {{.institution = kCharite, .accepted = true},
                                           {.institution = kUke, .accepted = true}}};
  EXPECT_THAT(Start(std::move(options)), ElementsAre("invite charite", "open 3.1: evaluation",
                                                     "assign charite 3.1: evaluate"));
}

TEST_F(RunTest, WaitsAMomentAfterARestartForThoseWhoAreToEvaluate) {
  fedtune::Run::Options options = Options({});
  options.resume = ResumePoint{.rounds_done = 3,
                               .clients = {{.institution = kCharite, .accepted = true},
                                           {.institution = kUke, .accepted = true}}};
  EXPECT_THAT(Start(std::move(options)), ElementsAre("open 3.1: evaluation"));
  EXPECT_THAT(Does(kCharite, ClientConnected{}),
              ElementsAre("invite charite", "assign charite 3.1: evaluate"));
  EXPECT_THAT(Contribute(kCharite), IsEmpty());
  EXPECT_THAT(Advance(absl::Minutes(2)), Contains("end finished"));
}

}  // namespace
}  // namespace fedtune::testing
