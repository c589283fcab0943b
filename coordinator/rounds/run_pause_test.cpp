// SPDX-License-Identifier: Apache-2.0

// Runs that pause, go on, and are tried again.

#include "base/status.h"
#include "coordinator/rounds/run.h"
#include "tests/support/run_fixture.h"
#include "tests/support/run_journal.h"

namespace fedtune::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class RunPauseTest : public RunTest {
 protected:
  std::vector<std::string> Pause(std::string reason = "maintenance") {
    return Lines(run_->Receive(PauseRequested{std::move(reason)}, now_));
  }
  std::vector<std::string> Resume() { return Lines(run_->Receive(ResumeRequested{}, now_)); }

  // In the middle of the second round, after which the run is to pause.
  void PauseInTheSecondRound() {
    StartWith({kCharite, kUke});
    Contribute(kUke);
    Contribute(kCharite);
    ReleaseDone();
    Contribute(kUke);
    EXPECT_THAT(Pause(),
                ElementsAre("tell charite pause: maintenance", "tell uke pause: maintenance"));
  }

  // A new process, in which these are connected.
  std::vector<std::string> Restart(ResumePoint point, std::vector<Institution> connected) {
    fedtune::Run::Options options = Options(std::move(connected));
    options.adapter = run_->view().adapter;
    point.clients = ClientsOf(run_->view());
    point.rounds_done = run_->view().rounds_done;
    options.resume = std::move(point);
    return Start(std::move(options));
  }
};

TEST_F(RunPauseTest, FinishesTheOpenRoundAndOpensNoOther) {
  PauseInTheSecondRound();
  EXPECT_EQ(run_->state(), RunState::kRunning);
  EXPECT_TRUE(run_->view().pausing);
  EXPECT_EQ(run_->view().reason, "maintenance");
  EXPECT_THAT(Contribute(kCharite), ElementsAre("release 1.1: A of 2 contributions"));
  EXPECT_THAT(ReleaseDone(), IsEmpty());
  EXPECT_EQ(run_->state(), RunState::kPaused);
  EXPECT_FALSE(run_->view().pausing);
  EXPECT_EQ(run_->view().rounds_done, 2);
  EXPECT_EQ(run_->deadline(), std::nullopt);
  EXPECT_THAT(Advance(absl::Hours(1000)), IsEmpty());
  EXPECT_EQ(run_->state(), RunState::kPaused);
}

TEST_F(RunPauseTest, GoesOnWithTheNextRound) {
  PauseInTheSecondRound();
  Contribute(kCharite);
  ReleaseDone();
  EXPECT_THAT(Resume(), ElementsAre("tell charite resume", "tell uke resume", "open 2.1: B",
                                    "assign charite 2.1: train B", "assign uke 2.1: train B"));
  EXPECT_EQ(run_->state(), RunState::kRunning);
  EXPECT_EQ(run_->view().reason, "");
}

TEST_F(RunPauseTest, RepeatingARequestDoesNothing) {
  PauseInTheSecondRound();
  EXPECT_THAT(Pause("another reason"), IsEmpty());
  EXPECT_EQ(run_->view().reason, "maintenance");
  Resume();
  EXPECT_THAT(Resume(), IsEmpty());
  EXPECT_FALSE(run_->view().pausing);
}

TEST_F(RunPauseTest, APauseThatIsTakenBackInTimeChangesNothing) {
  PauseInTheSecondRound();
  EXPECT_THAT(Resume(), ElementsAre("tell charite resume", "tell uke resume"));
  Contribute(kCharite);
  EXPECT_THAT(ReleaseDone(), Contains("open 2.1: B"));
}

TEST_F(RunPauseTest, TheSecondAttemptOfTheOpenRoundIsStillMade) {
  PauseInTheSecondRound();
  EXPECT_THAT(Fail(kCharite), Contains("open 1.2: A"));
}

TEST_F(RunPauseTest, PausesAtOnceBeforeTheFirstRound) {
  Start({kCharite, kUke});
  Accept(kUke);
  Pause();
  EXPECT_EQ(run_->state(), RunState::kPaused);
  EXPECT_THAT(Accept(kCharite), IsEmpty());
  now_ += absl::Hours(10);
  EXPECT_THAT(Resume(), Contains("open 0.1: B"));
}

TEST_F(RunPauseTest, WaitsForAnswersAnewAfterAPauseBeforeTheFirstRound) {
  Start({kCharite, kUke});
  Pause();
  now_ += absl::Hours(10);
  EXPECT_THAT(Resume(), ElementsAre("tell charite resume", "tell uke resume"));
  EXPECT_EQ(run_->state(), RunState::kInviting);
  EXPECT_EQ(run_->deadline(), now_ + absl::Minutes(1));
}

TEST_F(RunPauseTest, TellsThoseWhoConnectMeanwhile) {
  PauseInTheSecondRound();
  Contribute(kCharite);
  ReleaseDone();
  EXPECT_THAT(Does(kHelios, ClientConnected{}),
              ElementsAre("invite helios", "tell helios pause: maintenance"));
  EXPECT_THAT(Accept(kHelios), IsEmpty());
  EXPECT_THAT(Resume(), Contains("assign helios 2.1: train B"));
}

TEST_F(RunPauseTest, PausesBeforeTheFinalEvaluation) {
  plan_.rounds.count = 1;
  StartWith({kCharite, kUke});
  Pause();
  Contribute(kUke);
  Contribute(kCharite);
  EXPECT_THAT(ReleaseDone(), IsEmpty());
  EXPECT_THAT(Resume(), Contains("open 1.1: evaluation"));
}

TEST_F(RunPauseTest, ResumesTheFinalEvaluationWithoutAQuorum) {
  plan_.rounds.count = 1;
  StartWith({kCharite, kUke});
  Pause();
  Contribute(kUke);
  Contribute(kCharite);
  ReleaseDone();
  Does(kUke, RunDeclined{"policy changed"});
  EXPECT_THAT(Resume(), Contains("assign charite 1.1: evaluate"));
  EXPECT_THAT(Contribute(kCharite), Contains("end finished"));
}

TEST_F(RunPauseTest, ANewProcessOpensTheFinalEvaluationWithoutAQuorum) {
  plan_.rounds.count = 1;
  StartWith({kCharite, kUke});
  Pause();
  Contribute(kUke);
  Contribute(kCharite);
  ReleaseDone();
  Does(kUke, RunDeclined{"policy changed"});
  EXPECT_THAT(Restart({}, {kCharite}), Contains("assign charite 1.1: evaluate"));
}

TEST_F(RunPauseTest, CanBeStoppedWhilePaused) {
  PauseInTheSecondRound();
  Contribute(kCharite);
  ReleaseDone();
  EXPECT_EQ(Lines(run_->Receive(StopRequested{"enough"}, now_)).front(), "end stopped: enough");
  EXPECT_THAT(Resume(), IsEmpty());
  EXPECT_EQ(run_->state(), RunState::kStopped);
}

TEST_F(RunPauseTest, StaysPausedInANewProcess) {
  PauseInTheSecondRound();
  Contribute(kCharite);
  ReleaseDone();
  EXPECT_THAT(Restart({.pause = "maintenance"}, {kUke}),
              ElementsAre("invite uke", "tell uke pause: maintenance"));
  EXPECT_EQ(run_->state(), RunState::kPaused);
  Does(kCharite, ClientConnected{});
  EXPECT_THAT(Resume(), Contains("open 2.1: B"));
}

TEST_F(RunPauseTest, ARunThatIsTriedAgainHasFreshAttempts) {
  StartWith({kCharite, kUke});
  Fail(kUke);
  EXPECT_THAT(Fail(kUke).front(), HasSubstr("end failed"));
  EXPECT_THAT(
      Restart({.attempts_opened = 2, .retried = true}, {kCharite, kUke}),
      ElementsAre("invite charite", "invite uke", "open 0.3: B",
                  "assign charite 0.3: train B, evaluate", "assign uke 0.3: train B, evaluate"));
  EXPECT_THAT(Fail(kUke), Contains("open 0.4: B"));
}

TEST_F(RunPauseTest, IsNotTriedAgainWithoutAQuorum) {
  StartWith({kCharite, kUke});
  run_->Receive(StopRequested{"enough"}, now_);
  fedtune::Run::Options options = Options({kUke});
  options.resume =
      ResumePoint{.attempts_opened = 1, .clients = ClientsOf(run_->view()), .retried = true};
  Effects effects;
  const auto run = fedtune::Run::Start(std::move(options), now_, effects);
  EXPECT_THAT(run, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(Message(run.status()),
            "1 clients are connected (uke), the plan's quorum is 2; offline: charite");
}

TEST_F(RunPauseTest, AttemptsAreNeverNumberedTwiceEvenWhenTheQuorumComesLate) {
  StartWith({kCharite, kUke});
  Does(kUke, RunDeclined{"no more"});
  ASSERT_EQ(run_->state(), RunState::kFailed);
  EXPECT_THAT(Restart({.attempts_opened = 1, .retried = true}, {kCharite, kUke}),
              ElementsAre("invite charite", "invite uke"));
  EXPECT_THAT(Accept(kUke), Contains("open 0.2: B"));
}

}  // namespace
}  // namespace fedtune::testing
