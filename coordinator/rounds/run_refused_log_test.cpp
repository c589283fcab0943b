// SPDX-License-Identifier: Apache-2.0

// Clients that refuse the coordinator's log, as after a restore from a backup.

#include "coordinator/rounds/run.h"
#include "tests/support/run_fixture.h"
#include "tests/support/run_journal.h"

namespace fedtune::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class RefusedLogTest : public RunTest {
 protected:
  std::vector<std::string> Tell(const Institution& from, ClientEvent event) {
    if (run_->Heeds(from, event)) journal_.Write(now_, ReceivedFromClient{from, event});
    return Follow(run_->Receive(from, std::move(event), now_));
  }
  std::vector<std::string> Refuse(const Institution& from, std::string why = "it was rolled back") {
    return Tell(from, RunDeclined{.reason = std::move(why), .refuses_log = true});
  }
  std::vector<std::string> Decline(const Institution& from) {
    return Tell(from, RunDeclined{.reason = "rank 64"});
  }
  std::vector<std::string> AcceptLog(const Institution& from) {
    return Tell(from, RunAccepted{100});
  }
  std::vector<std::string> Resume() { return Follow(run_->Receive(ResumeRequested{}, now_)); }

  // A new process, in which nobody is connected.
  std::vector<std::string> Restart(ResumePoint point = {}) {
    fedtune::Run::Options options = Options({});
    options.adapter = run_->view().adapter;
    point.clients = ClientsOf(run_->view());
    point.rounds_done = run_->view().rounds_done;
    if (!journal_.empty()) point.journal = journal_.Restart(now_);
    options.resume = std::move(point);
    Effects effects;
    absl::StatusOr<fedtune::Run> run = fedtune::Run::Start(std::move(options), now_, effects);
    EXPECT_THAT(run, IsOk());
    run_.emplace(*std::move(run));
    return Follow(std::move(effects));
  }

  void BeginFirstRound() {
    Start({kCharite, kUke});
    Tell(kCharite, RunAccepted{100});
    Tell(kUke, RunAccepted{100});
    ASSERT_EQ(run_->view().phase, RunPhase::kTraining);
  }

  void ExpectToWait() {
    EXPECT_EQ(run_->state(), RunState::kInviting);
    EXPECT_EQ(run_->deadline(), std::nullopt);
    EXPECT_THAT(run_->view().reason,
                AllOf(HasSubstr("fedtune-client log accept"), HasSubstr("institutions needed")));
    EXPECT_THAT(Advance(absl::Hours(1000)), IsEmpty());
    EXPECT_EQ(run_->state(), RunState::kInviting);
  }

  RunJournal journal_;

 private:
  std::vector<std::string> Follow(Effects effects) {
    journal_.Follow(now_, effects);
    return Lines(effects);
  }
};

TEST_F(RefusedLogTest, ARunThatAllRefuseWaitsAndSaysWhoDoes) {
  Start({kCharite, kUke});
  Refuse(kCharite);
  EXPECT_THAT(Refuse(kUke), IsEmpty());
  Advance(absl::Minutes(1));
  ExpectToWait();
  EXPECT_THAT(run_->view().reason, AllOf(HasSubstr("0 of the 2"), HasSubstr("charite, uke")));
  EXPECT_EQ(ViewOf(kUke).state, ClientStanding::kRefusing);
  EXPECT_EQ(ViewOf(kUke).reason, "it was rolled back");
}

TEST_F(RefusedLogTest, ItGoesOnByItselfOnceAQuorumHasAcceptedTheLog) {
  Start({kCharite, kUke, kHelios});
  for (const Institution& each : {kCharite, kUke, kHelios}) Refuse(each);
  ExpectToWait();
  EXPECT_THAT(AcceptLog(kUke), IsEmpty());
  ExpectToWait();
  EXPECT_THAT(AcceptLog(kCharite),
              ElementsAre("open 0.1: B", "assign charite 0.1: train B, evaluate",
                          "assign uke 0.1: train B, evaluate"));
  EXPECT_EQ(run_->view().reason, "");
  EXPECT_THAT(AcceptLog(kHelios), IsEmpty()) << "it takes part from the next round on";
}

TEST_F(RefusedLogTest, AnOpenAttemptIsGivenUpForAnotherOneWhichIsNoSecondTry) {
  BeginFirstRound();
  EXPECT_THAT(Refuse(kUke), Contains(HasSubstr("close charite 0.1")));
  ExpectToWait();
  EXPECT_THAT(AcceptLog(kUke), ElementsAre("open 0.2: B", "assign charite 0.2: train B, evaluate",
                                           "assign uke 0.2: train B, evaluate"));
  Fail(kUke);
  EXPECT_EQ(run_->view().attempt, 3) << "the round has its second try still";
  EXPECT_EQ(run_->state(), RunState::kRunning);
}

TEST_F(RefusedLogTest, ARoundGoesOnWithoutThoseWhoRefuseWhileThereIsAQuorumOfOthers) {
  Start({kCharite, kUke, kHelios});
  for (const Institution& each : {kCharite, kUke, kHelios}) Tell(each, RunAccepted{100});
  EXPECT_THAT(Refuse(kHelios), IsEmpty());
  EXPECT_EQ(run_->view().phase, RunPhase::kTraining);
  Contribute(kUke);
  EXPECT_THAT(Contribute(kCharite), Contains(HasSubstr("release 0.1")));
}

TEST_F(RefusedLogTest, WhatWasHandedInBeforeIsAskedForAgain) {
  BeginFirstRound();
  Contribute(kCharite);
  Refuse(kUke);
  ExpectToWait();
  EXPECT_THAT(AcceptLog(kUke), Contains("assign charite 0.2: train B, evaluate"));
}

TEST_F(RefusedLogTest, NoRoundIsOpenedForThoseWhoRefuseMeanwhile) {
  BeginFirstRound();
  Contribute(kCharite);
  Contribute(kUke);
  EXPECT_THAT(Refuse(kUke), IsEmpty());
  EXPECT_THAT(ReleaseDone(), IsEmpty());
  ExpectToWait();
  EXPECT_EQ(run_->view().rounds_done, 1);
  EXPECT_THAT(AcceptLog(kUke), Contains("open 1.1: A"));
}

TEST_F(RefusedLogTest, TheFinalEvaluationWaitsToo) {
  plan_.rounds.count = 1;
  BeginFirstRound();
  Contribute(kCharite);
  Contribute(kUke);
  ReleaseDone();
  ASSERT_EQ(run_->view().phase, RunPhase::kEvaluating);
  Refuse(kCharite);
  Refuse(kUke);
  ExpectToWait();
  Tell(kUke, ClientDisconnected{});
  EXPECT_THAT(Tell(kUke, ClientConnected{}), ElementsAre("invite uke"));
  AcceptLog(kUke);
  EXPECT_THAT(AcceptLog(kCharite), Contains(HasSubstr("open 1.2")));
  EXPECT_EQ(run_->view().phase, RunPhase::kEvaluating);
}

TEST_F(RefusedLogTest, AFinalEvaluationThatOneDeclinesForGoodIsMadeByTheOthers) {
  plan_.rounds.count = 1;
  BeginFirstRound();
  Contribute(kCharite);
  Contribute(kUke);
  ReleaseDone();
  Refuse(kCharite);
  Refuse(kUke);
  ExpectToWait();
  AcceptLog(kUke);
  EXPECT_THAT(Decline(kCharite), Contains(HasSubstr("open 1.2")));
  EXPECT_EQ(run_->view().phase, RunPhase::kEvaluating);
}

TEST_F(RefusedLogTest, WhoAcceptsAndRefusesInTurnOpensNoAttemptsWithoutEnd) {
  BeginFirstRound();
  int turns = 0;
  for (; turns < 100 && run_->state() != RunState::kFailed; ++turns) {
    Refuse(kUke);
    if (run_->state() != RunState::kFailed) AcceptLog(kUke);
  }
  EXPECT_EQ(turns, 16);
}

TEST_F(RefusedLogTest, ItFailsOnceThoseWhoAreLeftHaveDeclinedForGood) {
  Start({kCharite, kUke});
  Refuse(kCharite);
  Refuse(kUke);
  ExpectToWait();
  EXPECT_THAT(Decline(kUke), Contains(HasSubstr("uke declined: rank 64")));
  EXPECT_EQ(run_->state(), RunState::kFailed);
}

TEST_F(RefusedLogTest, WithoutThemItWaitsForTheOthersAsLongAsEver) {
  Start({kCharite, kUke, kHelios});
  Refuse(kCharite);
  Refuse(kUke);
  ExpectToWait();
  Decline(kUke);
  EXPECT_THAT(Advance(absl::ZeroDuration()), IsEmpty());
  EXPECT_EQ(run_->deadline(), now_ + plan_.rounds.deadline);
  EXPECT_THAT(Advance(plan_.rounds.deadline), Contains(HasSubstr("helios did not answer")));
}

TEST_F(RefusedLogTest, ANewProcessWaitsAsTheOneBefore) {
  BeginFirstRound();
  Refuse(kUke);
  for (int restarts = 0; restarts < 3; ++restarts) {
    EXPECT_THAT(Restart(), IsEmpty());
    ExpectToWait();
  }
  EXPECT_THAT(Tell(kUke, ClientConnected{}), ElementsAre("invite uke"));
  Tell(kCharite, ClientConnected{});
  EXPECT_THAT(AcceptLog(kUke), Contains("open 0.2: B"));
}

TEST_F(RefusedLogTest, ANewProcessWithoutAJournalWaitsAsTheOneBefore) {
  Start({kCharite, kUke});
  Refuse(kCharite);
  Refuse(kUke);
  Restart();
  Advance(absl::Minutes(1));
  ExpectToWait();
  Tell(kUke, ClientConnected{});
  ExpectToWait();
  AcceptLog(kUke);
  EXPECT_THAT(AcceptLog(kCharite), Contains("open 0.1: B"));
}

TEST_F(RefusedLogTest, APausedRunStaysPaused) {
  BeginFirstRound();
  run_->Receive(PauseRequested{"night"}, now_);
  Refuse(kUke);
  EXPECT_EQ(run_->state(), RunState::kPaused);
  Restart({.pause = "night"});
  EXPECT_EQ(run_->state(), RunState::kPaused);
  EXPECT_EQ(run_->view().reason, "night");
  Resume();
  ExpectToWait();
  EXPECT_THAT(AcceptLog(kUke), Contains("open 0.2: B"));
}

TEST_F(RefusedLogTest, ALogThatGrowsWhileItIsRefusedIsNoNews) {
  BeginFirstRound();
  Refuse(kUke);
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(run_->Heeds(kUke, RunDeclined{.reason = std::to_string(i), .refuses_log = true}));
    Refuse(kUke, std::to_string(i));
  }
  EXPECT_THAT(AcceptLog(kUke), Not(IsEmpty())) << "it is heard";
}

TEST_F(RefusedLogTest, ARunThatIsStoppedTellsThoseWhoRefuse) {
  Start({kCharite, kUke});
  Refuse(kCharite);
  Refuse(kUke);
  EXPECT_THAT(Lines(run_->Receive(StopRequested{"enough"}, now_)),
              AllOf(Contains(HasSubstr("tell charite")), Contains(HasSubstr("tell uke"))));
}

// It does not say why it declines.
TEST_F(RefusedLogTest, AClientOfAnOlderVersionDeclines) {
  Start({kCharite, kUke});
  Refuse(kCharite);
  EXPECT_THAT(Tell(kUke, RunDeclined{.reason = "the log was rolled back"}),
              Contains(HasSubstr("uke declined: the log was rolled back")));
  EXPECT_EQ(run_->state(), RunState::kFailed);
}

}  // namespace
}  // namespace fedtune::testing
