// SPDX-License-Identifier: Apache-2.0

// Runs that keep what comes late.

#include "base/status.h"
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
using ::testing::Pair;

class RunStragglersTest : public RunTest {
 protected:
  RunStragglersTest() {
    plan_.aggregation.mode = AggregationMode::kPlain;
    plan_.aggregation.method = AggregationMethod::kFedit;
    plan_.rounds.count = 9;
    plan_.rounds.stragglers = Stragglers::kKeep;
    plan_.rounds.max_staleness = 2;
    plan_.rounds.close_at = 2;
  }

  // What `from` would send of work that it was given in this round.
  ContributionHeader WorkOf(const Institution& from, int64_t round, int64_t attempt = 1) const {
    return {.round = round,
            .attempt = attempt,
            .adapter = AdapterOf(round),
            .layout = Sha256Of(Layout().ToJson()),
            .factors = 3,
            .size_bytes = 4 * 20,
            .sha256 = Sha256Of(fmt::format("{} {} {}", from.value, round, attempt)),
            .metrics = {.training_loss = 1,
                        .before = EvaluationResult{.loss = 2, .example_count = 10}}};
  }
  std::vector<std::string> HandIn(const Institution& from, int64_t round) {
    const ContributionHeader header = WorkOf(from, round);
    const auto admission = run_->CheckContribution(from, header);
    EXPECT_THAT(admission, IsOk()) << admission.status();
    journal_.Write(now_, ReceivedFromClient{from, ContributionTaken{header}});
    return Does(from, ContributionTaken{header});
  }
  // Takes it as far as the open round without helios.
  void ReachRound(int64_t round) {
    StartWith({kCharite, kUke, kHelios});
    for (int64_t done = 0; done < round; ++done) {
      HandIn(kUke, done);
      HandIn(kCharite, done);
      journal_.Follow(now_, run_->Receive(Released{done, AdapterOf(done + 1)}, now_));
    }
  }

  RunJournal journal_;
};

TEST_F(RunStragglersTest, WhoIsLateWorksOnThoughTheRoundHasClosed) {
  StartWith({kCharite, kUke, kHelios});
  HandIn(kUke, 0);
  EXPECT_THAT(HandIn(kCharite, 0), ElementsAre("release 0.1: A and B of 2 contributions"));
  EXPECT_THAT(ReleaseDone(), ElementsAre("open 1.1: A and B", "assign charite 1.1: train A and B",
                                         "assign helios 0.1: train A and B, evaluate",
                                         "assign uke 1.1: train A and B"));
  EXPECT_TRUE(ViewOf(kHelios).awaited);
}

TEST_F(RunStragglersTest, WhatIsLateCountsLessTheLaterItIs) {
  ReachRound(2);
  EXPECT_EQ(run_->CheckContribution(kUke, WorkOf(kUke, 2))->weight, 25600);
  const auto late = run_->CheckContribution(kHelios, WorkOf(kHelios, 0));
  ASSERT_THAT(late, IsOk()) << late.status();
  EXPECT_EQ(late->weight, 14780) << "25600 / sqrt(3)";
  EXPECT_TRUE(late->late);
}

TEST_F(RunStragglersTest, WhatIsLateCountsInTheOpenRoundAndOnce) {
  ReachRound(1);
  EXPECT_THAT(HandIn(kHelios, 0), IsEmpty());
  EXPECT_TRUE(run_->CheckContribution(kHelios, WorkOf(kHelios, 0))->repeated);
  EXPECT_EQ(run_->CheckContribution(kHelios, WorkOf(kHelios, 0))->weight, 18102);
  EXPECT_THAT(run_->CheckContribution(kHelios, WorkOf(kHelios, 1)),
              HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(HandIn(kUke, 1), ElementsAre("release 1.1: A and B of 2 contributions"));
  EXPECT_THAT(ReleaseDone(), Contains("assign helios 2.1: train A and B"));
  EXPECT_THAT(run_->CheckContribution(kHelios, WorkOf(kHelios, 1)),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RunStragglersTest, AReleaseSaysWhoIsLateWithWhat) {
  ReachRound(2);
  HandIn(kUke, 2);
  const Effects kept = run_->Receive(kCharite, ContributionTaken{WorkOf(kCharite, 2)}, now_);
  const OpenWork late{.adapter = AdapterOf(0), .evaluate = true};
  EXPECT_THAT(std::get<Release>(kept.at(0)).between.work, ElementsAre(Pair(kHelios, late)));
}

TEST_F(RunStragglersTest, WhereNobodyIsLateAReleaseSaysNothingOfIt) {
  plan_.rounds.close_at = 3;
  StartWith({kCharite, kUke, kHelios});
  HandIn(kUke, 0);
  HandIn(kCharite, 0);
  const Effects all = run_->Receive(kHelios, ContributionTaken{WorkOf(kHelios, 0)}, now_);
  EXPECT_TRUE(std::get<Release>(all.at(0)).between.empty());
}

TEST_F(RunStragglersTest, ItsEvaluationIsNotTheRounds) {
  ReachRound(1);
  HandIn(kHelios, 0);
  const Effects effects = run_->Receive(kUke, ContributionTaken{WorkOf(kUke, 1)}, now_);
  const RoundSummary& summary = std::get<Release>(effects.at(0)).summary;
  ASSERT_TRUE(summary.evaluation.has_value());
  EXPECT_EQ(summary.evaluation->example_count, 10) << "that of uke alone";
}

TEST_F(RunStragglersTest, IsToComeAgainBetweenRounds) {
  StartWith({kCharite, kUke, kHelios});
  HandIn(kUke, 0);
  HandIn(kCharite, 0);
  EXPECT_THAT(run_->CheckContribution(kHelios, WorkOf(kHelios, 0)),
              HasCode(absl::StatusCode::kUnavailable));
  ReleaseDone();
  EXPECT_THAT(run_->CheckContribution(kHelios, WorkOf(kHelios, 0)), IsOk());
}

TEST_F(RunStragglersTest, WhatIsTooOldIsRefusedAndItsClientBeginsAnew) {
  ReachRound(2);
  HandIn(kUke, 2);
  HandIn(kCharite, 2);
  EXPECT_THAT(ReleaseDone(),
              AllOf(Contains("close helios 0.1: round 4 begins, and what is 3 rounds late is not "
                             "taken any more"),
                    Contains("assign helios 3.1: train A and B")));
  EXPECT_THAT(run_->CheckContribution(kHelios, WorkOf(kHelios, 0)),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RunStragglersTest, RefusesWhatWasNotTrainedFromItsOwnAdapter) {
  ReachRound(1);
  ContributionHeader header = WorkOf(kHelios, 0);
  header.adapter = AdapterOf(1);
  EXPECT_THAT(run_->CheckContribution(kHelios, header),
              HasCode(absl::StatusCode::kFailedPrecondition));
  header = WorkOf(kHelios, 0);
  header.factors = 1;
  EXPECT_THAT(run_->CheckContribution(kHelios, header),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(RunStragglersTest, ALateClientThatFailsGetsTheNextRoundsWork) {
  ReachRound(1);
  Does(kHelios, ClientFailed{0, 1, "out of memory"});
  EXPECT_EQ(ViewOf(kHelios).state, ClientStanding::kFailed);
  HandIn(kUke, 1);
  HandIn(kCharite, 1);
  EXPECT_THAT(ReleaseDone(), Contains("assign helios 2.1: train A and B"));
}

TEST_F(RunStragglersTest, ALateClientThatIsAwayIsNotWaitedForAndCountsWhenItIsBack) {
  plan_.rounds.close_at = 0;
  StartWith({kCharite, kUke, kHelios});
  Does(kHelios, ClientDisconnected{});
  HandIn(kUke, 0);
  HandIn(kCharite, 0);
  EXPECT_THAT(Advance(absl::Hours(1)), ElementsAre("release 0.1: A and B of 2 contributions"));
  EXPECT_THAT(ReleaseDone(), ElementsAre("open 1.1: A and B", "assign charite 1.1: train A and B",
                                         "assign uke 1.1: train A and B"));
  EXPECT_THAT(Does(kHelios, ClientConnected{}),
              ElementsAre("invite helios", "assign helios 0.1: train A and B, evaluate"));
  HandIn(kUke, 1);
  HandIn(kCharite, 1);
  EXPECT_THAT(HandIn(kHelios, 0), ElementsAre("release 1.1: A and B of 3 contributions"));
}

TEST_F(RunStragglersTest, IsInTheCohortWhateverTheLotsSay) {
  plan_.rounds.cohort_size = 3;
  plan_.rounds.close_at = 2;
  StartWith({kCharite, kUke, kHelios});
  Does(kStAnna, ClientConnected{});
  Accept(kStAnna);
  HandIn(kUke, 0);
  HandIn(kCharite, 0);
  EXPECT_THAT(ReleaseDone(), Contains("assign helios 0.1: train A and B, evaluate"));
}

TEST_F(RunStragglersTest, TheFinalEvaluationEndsWhatIsLate) {
  plan_.rounds.count = 1;
  StartWith({kCharite, kUke, kHelios});
  HandIn(kUke, 0);
  HandIn(kCharite, 0);
  EXPECT_THAT(ReleaseDone(), AllOf(Contains("close helios 0.1: all rounds are done"),
                                   Contains("assign helios 1.1: evaluate")));
}

TEST_F(RunStragglersTest, GoesOnWithWhoIsLateInANewProcess) {
  ReachRound(1);
  const RunView before = run_->view();
  fedtune::Run::Options options = Options({kHelios, kUke});
  options.adapter = AdapterOf(1);
  HandIn(kCharite, 1);
  options.resume = ResumePoint{.rounds_done = 1,
                               .attempts_opened = 1,
                               .clients = ClientsOf(before),
                               .journal = journal_.Restart(now_)};
  EXPECT_THAT(Start(std::move(options)),
              ElementsAre("reopen 1.1: A and B", "invite helios",
                          "assign helios 0.1: train A and B, evaluate", "invite uke",
                          "assign uke 1.1: train A and B"));
  EXPECT_EQ(run_->CheckContribution(kHelios, WorkOf(kHelios, 0))->weight, 18102);
  EXPECT_THAT(HandIn(kHelios, 0), ElementsAre("release 1.1: A and B of 2 contributions"));
}

// A process that begins between two rounds, as a pause of the run has them.
class LateInANewProcessTest : public RunStragglersTest {
 protected:
  // Behind the second round, of which nobody has heard in helios.
  ResumePoint BehindTheSecondRound() {
    ReachRound(1);
    HandIn(kUke, 1);
    const Effects effects = run_->Receive(kCharite, ContributionTaken{WorkOf(kCharite, 1)}, now_);
    ResumePoint point{.rounds_done = 2, .clients = ClientsOf(run_->view())};
    for (ResumePoint::Client& client : point.clients) {
      const auto& work = std::get<Release>(effects.at(0)).between.work;
      if (work.contains(client.institution)) client.work = work.at(client.institution);
    }
    return point;
  }
  std::vector<std::string> GoOn(ResumePoint point, std::vector<Institution> connected) {
    fedtune::Run::Options options = Options(std::move(connected));
    options.adapter = AdapterOf(2);
    options.resume = std::move(point);
    return Start(std::move(options));
  }
};

TEST_F(LateInANewProcessTest, GoesOnWithItsWork) {
  EXPECT_THAT(GoOn(BehindTheSecondRound(), {kHelios, kUke}),
              Contains("assign helios 0.1: train A and B, evaluate"));
  EXPECT_EQ(run_->CheckContribution(kHelios, WorkOf(kHelios, 0))->weight, 14780);
}

TEST_F(LateInANewProcessTest, WhoHasDeclinedMeanwhileIsAskedForNothing) {
  ResumePoint point = BehindTheSecondRound();
  for (ResumePoint::Client& client : point.clients) {
    client.declined = client.institution == kHelios;
    client.accepted = !client.declined;
  }
  GoOn(std::move(point), {kCharite, kUke});
  EXPECT_THAT(Does(kHelios, ClientConnected{}), Not(Contains(HasSubstr("assign helios"))));
  EXPECT_FALSE(ViewOf(kHelios).awaited);
}

TEST_F(RunStragglersTest, WhatWasTakenLateWeighsTheSameInANewProcess) {
  plan_.rounds.close_at = 3;
  plan_.rounds.quorum = 1;
  StartWith({kCharite, kUke, kHelios});
  HandIn(kUke, 0);
  HandIn(kCharite, 0);
  Advance(absl::Hours(1));
  journal_.Follow(now_, run_->Receive(Released{0, AdapterOf(1)}, now_));
  HandIn(kHelios, 0);
  fedtune::Run::Options options = Options({});
  options.adapter = AdapterOf(1);
  options.resume = ResumePoint{.rounds_done = 1,
                               .attempts_opened = 1,
                               .clients = ClientsOf(run_->view()),
                               .journal = journal_.Restart(now_)};
  Start(std::move(options));
  const auto again = run_->CheckContribution(kHelios, WorkOf(kHelios, 0));
  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->repeated);
  EXPECT_EQ(again->weight, 18102);
}

TEST_F(RunStragglersTest, WithoutThePlansWordNothingIsKept) {
  plan_.rounds.stragglers = Stragglers::kDrop;
  StartWith({kCharite, kUke, kHelios});
  HandIn(kUke, 0);
  EXPECT_THAT(HandIn(kCharite, 0), Contains(HasSubstr("close helios 0.1")));
  ReleaseDone();
  EXPECT_THAT(run_->CheckContribution(kHelios, WorkOf(kHelios, 0)),
              HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(run_->CheckContribution(kUke, WorkOf(kUke, 1))->weight, 100);
}

// ---- Asynchronous runs ----

class AsynchronousRunTest : public RunStragglersTest {
 protected:
  AsynchronousRunTest() { plan_.rounds.asynchronous = true; }
};

TEST_F(AsynchronousRunTest, FastClientsDoNotWaitForASlowOne) {
  plan_.rounds.max_staleness = 7;
  ReachRound(5);
  EXPECT_EQ(run_->view().rounds_done, 5);
  EXPECT_EQ(run_->CheckContribution(kHelios, WorkOf(kHelios, 0))->weight, 10451)
      << "25600 / sqrt(6)";
}

TEST_F(AsynchronousRunTest, WhoHandsInSomethingOldGetsTheNewestAdapterAtOnce) {
  ReachRound(1);
  EXPECT_THAT(HandIn(kHelios, 0), ElementsAre("assign helios 1.1: train A and B"));
  EXPECT_EQ(ViewOf(kHelios).state, ClientStanding::kWaiting);
  Does(kHelios, ProgressReported{.round = 1, .attempt = 1, .phase = ReportedPhase::kTraining});
  EXPECT_EQ(ViewOf(kHelios).state, ClientStanding::kTraining);
}

TEST_F(AsynchronousRunTest, AClientCountsOnceInARoundAndThenInTheNext) {
  ReachRound(1);
  HandIn(kHelios, 0);
  EXPECT_THAT(run_->CheckContribution(kHelios, WorkOf(kHelios, 1)),
              HasCode(absl::StatusCode::kUnavailable));
  HandIn(kUke, 1);
  EXPECT_THAT(ReleaseDone(), Contains("assign helios 1.1: train A and B"));
  EXPECT_EQ(run_->CheckContribution(kHelios, WorkOf(kHelios, 1))->weight, 18102);
  EXPECT_THAT(HandIn(kHelios, 1), ElementsAre("assign helios 2.1: train A and B"));
}

TEST_F(AsynchronousRunTest, WhoHandsInTheNewestWaitsForTheNextAdapter) {
  ReachRound(1);
  EXPECT_THAT(HandIn(kUke, 1), IsEmpty());
  HandIn(kHelios, 0);
  EXPECT_THAT(ReleaseDone(), Contains("assign uke 2.1: train A and B"));
}

TEST_F(AsynchronousRunTest, WhoWorksAheadIsAskedAgainAfterAReconnect) {
  ReachRound(1);
  HandIn(kHelios, 0);
  Does(kHelios, ClientDisconnected{});
  EXPECT_THAT(Does(kHelios, ClientConnected{}),
              ElementsAre("invite helios", "assign helios 1.1: train A and B"));
  Does(kHelios, ClientFailed{1, 1, "out of memory"});
  HandIn(kUke, 1);
  EXPECT_THAT(ReleaseDone(), Contains("assign helios 2.1: train A and B"));
}

TEST_F(AsynchronousRunTest, WhoWorksAheadDoesSoInANewProcess) {
  ReachRound(1);
  HandIn(kHelios, 0);
  fedtune::Run::Options options = Options({kHelios});
  options.adapter = AdapterOf(1);
  options.resume = ResumePoint{.rounds_done = 1,
                               .attempts_opened = 1,
                               .clients = ClientsOf(run_->view()),
                               .journal = journal_.Restart(now_)};
  EXPECT_THAT(Start(std::move(options)), ElementsAre("reopen 1.1: A and B", "invite helios",
                                                     "assign helios 1.1: train A and B"));
  EXPECT_THAT(run_->CheckContribution(kHelios, WorkOf(kHelios, 1)),
              HasCode(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace fedtune::testing
