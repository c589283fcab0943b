// SPDX-License-Identifier: Apache-2.0

// A run in which everyone behaves; run_faults_test.cpp has the others.

#include "coordinator/rounds/run.h"

#include "base/status.h"
#include "tests/support/run_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(RunTest, InvitesAllThatAreConnected) {
  EXPECT_THAT(Start({kUke, kCharite}), ElementsAre("invite charite", "invite uke"));
  EXPECT_EQ(run_->state(), RunState::kInviting);
  EXPECT_EQ(ViewOf(kUke).state, ClientStanding::kInvited);
}

TEST_F(RunTest, InvitesOnlyTheInstitutionsOfThePlan) {
  plan_.rounds.institutions = {"charite", "uke"};
  EXPECT_THAT(Start({kUke, kHelios, kCharite}), ElementsAre("invite charite", "invite uke"));
  EXPECT_THAT(Does(kStAnna, ClientConnected{}), IsEmpty());
}

TEST_F(RunTest, RefusesToStartWithFewerClientsThanTheQuorum) {
  plan_.rounds.institutions = {"charite", "uke"};
  Effects effects;
  const auto run = fedtune::Run::Start(Options({kUke}), now_, effects);
  EXPECT_THAT(run, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(Message(run.status()),
            "1 clients are connected (uke), the plan's quorum is 2; offline: charite");
}

TEST_F(RunTest, OpensTheFirstRoundWhenAllHaveAnswered) {
  Start({kCharite, kUke});
  EXPECT_THAT(Accept(kUke), IsEmpty());
  EXPECT_THAT(Accept(kCharite), ElementsAre("open 0.1: B", "assign charite 0.1: train B, evaluate",
                                            "assign uke 0.1: train B, evaluate"));
  EXPECT_EQ(run_->state(), RunState::kRunning);
  EXPECT_EQ(run_->deadline(), now_ + absl::Hours(1));
}

TEST_F(RunTest, TellsClientsWhatToStartFromAndHowLongTheyHave) {
  StartWith({kCharite, kUke});
  now_ += absl::Minutes(20);
  const Effects effects = run_->Receive(kUke, ClientConnected{}, now_);
  ASSERT_EQ(effects.size(), 2u);
  const RoundAssignment& work = std::get<Assign>(effects[1]).assignment;
  EXPECT_EQ(work.adapter, AdapterOf(0));
  EXPECT_EQ(work.time_left, absl::Minutes(40));
}

TEST_F(RunTest, ReleasesAsSoonAsEveryoneHasContributed) {
  StartWith({kCharite, kUke});
  EXPECT_THAT(Contribute(kUke), IsEmpty());
  EXPECT_THAT(Contribute(kCharite), ElementsAre("release 0.1: B of 2 contributions"));
  EXPECT_EQ(run_->deadline(), std::nullopt);
}

TEST_F(RunTest, OpensTheNextRoundFromTheReleasedAdapter) {
  StartWith({kCharite, kUke});
  Contribute(kUke);
  Contribute(kCharite);
  EXPECT_THAT(ReleaseDone(),
              ElementsAre("open 1.1: A", "assign charite 1.1: train A", "assign uke 1.1: train A"));
  EXPECT_EQ(run_->view().adapter, AdapterOf(1));
  EXPECT_EQ(run_->view().rounds_done, 1);
}

TEST_F(RunTest, FinishesWithAnEvaluationByEveryone) {
  StartWith({kCharite, kUke});
  for (int round = 0; round < 2; ++round) {
    Contribute(kUke);
    Contribute(kCharite);
    ReleaseDone();
  }
  Contribute(kUke);
  Contribute(kCharite);
  EXPECT_THAT(ReleaseDone(), ElementsAre("open 3.1: evaluation", "assign charite 3.1: evaluate",
                                         "assign uke 3.1: evaluate"));
  EXPECT_EQ(run_->view().phase, RunPhase::kEvaluating);
  EXPECT_TRUE(run_->CheckContribution(kUke, Header(kUke))->evaluate_only);
  Contribute(kUke);
  EXPECT_THAT(Contribute(kCharite),
              ElementsAre("end finished", "tell charite finished", "tell uke finished"));
  EXPECT_EQ(run_->state(), RunState::kFinished);
  EXPECT_EQ(run_->view().rounds_done, 3);
}

TEST_F(RunTest, SaysWhomItWaitsForAndWhy) {
  Start({kCharite, kUke, kHelios});
  EXPECT_EQ(run_->view().phase, RunPhase::kInviting);
  Accept(kCharite);
  EXPECT_FALSE(ViewOf(kCharite).awaited);
  EXPECT_TRUE(ViewOf(kUke).awaited);
  Accept(kUke);
  Does(kHelios, RunDeclined{"not now"});
  EXPECT_EQ(run_->view().phase, RunPhase::kTraining);
  EXPECT_EQ(run_->view().quorum, 2);
  EXPECT_EQ(run_->view().round_deadline, absl::Hours(1));

  Contribute(kUke);
  Does(kCharite, ClientDisconnected{});
  EXPECT_TRUE(ViewOf(kCharite).awaited);
  EXPECT_EQ(ViewOf(kCharite).state, ClientStanding::kOffline);
  EXPECT_FALSE(ViewOf(kUke).awaited);
  EXPECT_FALSE(ViewOf(kHelios).awaited);

  Does(kCharite, ClientConnected{});
  Contribute(kCharite);
  EXPECT_EQ(run_->view().phase, RunPhase::kReleasing);
  EXPECT_FALSE(ViewOf(kCharite).awaited);
}

TEST_F(RunTest, FinishesWithoutEvaluationWhenNoneIsWanted) {
  plan_.rounds.count = 1;
  fedtune::Run::Options options = Options({kCharite, kUke});
  options.final_evaluation = false;
  Start(std::move(options));
  Accept(kCharite);
  Accept(kUke);
  Contribute(kUke);
  Contribute(kCharite);
  EXPECT_THAT(ReleaseDone(),
              ElementsAre("end finished", "tell charite finished", "tell uke finished"));
}

TEST_F(RunTest, EvaluatesEverySoManyRounds) {
  plan_.evaluation.every = 2;
  StartWith({kCharite, kUke});
  for (const bool expected : {true, false, true}) {
    Contribute(kUke);
    const Effects effects = run_->Receive(kUke, ClientConnected{}, now_);
    const auto assigned = run_->Receive(kCharite, ClientConnected{}, now_);
    EXPECT_EQ(std::get<Assign>(assigned.at(1)).assignment.evaluate, expected);
    Contribute(kCharite);
    ReleaseDone();
  }
}

TEST_F(RunTest, WeighsContributionsByExamples) {
  Start({kCharite, kUke});
  Accept(kCharite, 30);
  Accept(kUke, 10);
  EXPECT_EQ(run_->CheckContribution(kCharite, Header(kCharite))->weight, 30);
  EXPECT_EQ(run_->CheckContribution(kUke, Header(kUke))->weight, 10);
}

TEST_F(RunTest, NoContributionWeighsMoreThanThePlanAllows) {
  plan_.aggregation.max_weight = 20;
  Start({kCharite, kUke});
  Accept(kCharite, int64_t{1} << 40);
  Accept(kUke, 10);
  EXPECT_EQ(ViewOf(kCharite).weight, 20);
  EXPECT_EQ(ViewOf(kCharite).example_count, int64_t{1} << 40);
  EXPECT_EQ(run_->CheckContribution(kCharite, Header(kCharite))->weight, 20);
  EXPECT_EQ(run_->CheckContribution(kUke, Header(kUke))->weight, 10);
}

TEST_F(RunTest, WeighsContributionsEquallyWhenThePlanSaysSo) {
  plan_.aggregation.weights = ContributionWeights::kUniform;
  Start({kCharite, kUke});
  Accept(kCharite, 30);
  Accept(kUke, 10);
  EXPECT_EQ(run_->CheckContribution(kCharite, Header(kCharite))->weight, 1);
}

TEST_F(RunTest, SumsUpWhatTheContributionsSay) {
  Start({kCharite, kUke});
  Accept(kCharite, 30);
  Accept(kUke, 10);
  ContributionHeader header = Header(kCharite);
  header.metrics = {.training_loss = 2,
                    .before = {{.loss = 3, .accuracy = 0.5, .example_count = 6}}};
  Does(kCharite, ContributionTaken{header});
  header = Header(kUke);
  header.metrics = {.training_loss = 6, .before = {{.loss = 1, .example_count = 2}}};
  const Effects effects = run_->Receive(kUke, ContributionTaken{header}, now_);
  const RoundSummary& summary = std::get<Release>(effects.at(0)).summary;
  EXPECT_EQ(summary.contributions, 2);
  EXPECT_EQ(summary.example_count, 40);
  EXPECT_DOUBLE_EQ(summary.training_loss, 3);  // (30 * 2 + 10 * 6) / 40
  ASSERT_TRUE(summary.evaluation.has_value());
  EXPECT_DOUBLE_EQ(summary.evaluation->loss, 2.5);  // (6 * 3 + 2 * 1) / 8
  EXPECT_EQ(summary.evaluation->accuracy, 0.5);     // Only charite reports one.
  EXPECT_EQ(summary.evaluation->example_count, 8);
}

TEST_F(RunTest, SumsTheTokensOfEachRoutedExpert) {
  plan_.rounds.count = 1;
  fedtune::Run::Options options = Options({kCharite, kUke});
  options.routing = {.layers = 1, .experts = 3, .choices = 2, .most_tokens = 10};
  Start(std::move(options));
  Accept(kCharite);
  Accept(kUke);
  EXPECT_THAT(run_->CheckContribution(kUke, Header(kUke)),
              HasCode(absl::StatusCode::kInvalidArgument));
  ContributionHeader header = Header(kCharite);
  header.metrics = {.token_count = 5, .routed_tokens = {5, 0, 5}};
  Does(kCharite, ContributionTaken{header});
  header = Header(kUke);
  header.metrics = {.token_count = 4, .routed_tokens = {4, 1, 3}};
  const Effects effects = run_->Receive(kUke, ContributionTaken{header}, now_);
  EXPECT_EQ(std::get<Release>(effects.at(0)).summary.routed,
            (RoutedTokens{.experts = 3, .counts = {9, 1, 8}}));
  ReleaseDone();
  // The final evaluation trains nothing and counts nothing.
  EXPECT_THAT(run_->CheckContribution(kUke, Header(kUke)), IsOk());
}

TEST_F(RunTest, KeepsTheFirstAndTheLastEvaluation) {
  plan_.rounds.count = 1;
  StartWith({kCharite, kUke});
  const auto contribute_with_loss = [&](const Institution& from, double loss) {
    ContributionHeader header = Header(from);
    header.metrics.before = {{.loss = loss, .example_count = 1}};
    Does(from, ContributionTaken{header});
  };
  contribute_with_loss(kCharite, 4);
  contribute_with_loss(kUke, 4);
  EXPECT_FALSE(run_->view().first_evaluation.has_value());  // Not before the release.
  ReleaseDone();
  contribute_with_loss(kCharite, 1);
  contribute_with_loss(kUke, 1);
  const RunView view = run_->view();
  EXPECT_EQ(view.first_evaluation, (EvaluationSummary{.round = 0, .loss = 4, .example_count = 2}));
  EXPECT_EQ(view.last_evaluation, (EvaluationSummary{.round = 1, .loss = 1, .example_count = 2}));
  EXPECT_EQ(view.last_round->round, 0);
}

TEST_F(RunTest, ClosesWithEnoughContributionsThoughOthersStillWork) {
  plan_.rounds.close_at = 2;
  StartWith({kCharite, kUke, kHelios, kStAnna});
  EXPECT_EQ(run_->view().close_at, 2);
  Does(kStAnna, ClientDisconnected{});
  EXPECT_THAT(Contribute(kUke), IsEmpty());
  const ContributionHeader late = Header(kCharite);
  EXPECT_THAT(Contribute(kHelios),
              ElementsAre("close charite 0.1: round 1 closed with 2 contributions",
                          "release 0.1: B of 2 contributions"));
  EXPECT_EQ(ViewOf(kCharite).state, ClientStanding::kWaiting);
  EXPECT_EQ(ViewOf(kCharite).reason, "");
  EXPECT_THAT(run_->CheckContribution(kCharite, late),
              HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(ReleaseDone(), ElementsAre("open 1.1: A", "assign charite 1.1: train A",
                                         "assign helios 1.1: train A", "assign uke 1.1: train A"));
}

TEST_F(RunTest, ClosesWithFewerThanEnoughWhenNobodyElseIsAwaited) {
  plan_.rounds.close_at = 3;
  StartWith({kCharite, kUke, kHelios});
  Fail(kHelios);
  Contribute(kUke);
  EXPECT_THAT(Contribute(kCharite), ElementsAre("release 0.1: B of 2 contributions"));
}

TEST_F(RunTest, WaitsForAllInTheFinalEvaluation) {
  plan_.rounds.close_at = 2;
  plan_.rounds.count = 1;
  StartWith({kCharite, kUke, kHelios});
  Contribute(kUke);
  Contribute(kCharite);
  ReleaseDone();
  Contribute(kUke);
  EXPECT_THAT(Contribute(kCharite), IsEmpty());
  EXPECT_THAT(Contribute(kHelios), Contains("end finished"));
}

TEST_F(RunTest, DrawsACohortOfTheSizeAskedFor) {
  plan_.rounds.cohort_size = 2;
  StartWith({kCharite, kUke, kHelios, kStAnna});
  int in_cohort = 0;
  for (const Institution& each : {kCharite, kUke, kHelios, kStAnna}) {
    const bool admitted = run_->CheckContribution(each, Header(each)).ok();
    in_cohort += admitted ? 1 : 0;
    if (!admitted) {
      EXPECT_THAT(run_->CheckContribution(each, Header(each)),
                  HasCode(absl::StatusCode::kPermissionDenied));
    }
  }
  EXPECT_EQ(in_cohort, 2);
}

TEST_F(RunTest, ShowsWhatEveryClientIsDoing) {
  StartWith({kCharite, kUke, kHelios});
  Does(kCharite, ProgressReported{.round = 0,
                                  .attempt = 1,
                                  .phase = ReportedPhase::kTraining,
                                  .fraction = 0.5,
                                  .tokens_per_second = 2140});
  Does(kHelios, ProgressReported{0, 1, ReportedPhase::kWaiting, 0, 0, "its hours (20:00-06:00)"});
  Contribute(kUke);
  EXPECT_EQ(ViewOf(kCharite).state, ClientStanding::kTraining);
  EXPECT_EQ(ViewOf(kCharite).fraction, 0.5);
  EXPECT_EQ(ViewOf(kCharite).tokens_per_second, 2140);
  EXPECT_EQ(ViewOf(kHelios).state, ClientStanding::kWaiting);
  EXPECT_EQ(ViewOf(kHelios).reason, "its hours (20:00-06:00)");
  EXPECT_EQ(ViewOf(kUke).state, ClientStanding::kDone);
}

TEST_F(RunTest, CutsALongReasonBetweenCharacters) {
  StartWith({kCharite, kUke});
  Does(kUke, ProgressReported{0, 1, ReportedPhase::kWaiting, 0, 0, std::string(499, 'x') + "ü"});
  EXPECT_EQ(ViewOf(kUke).reason, std::string(499, 'x'));
}

TEST_F(RunTest, CountsTheRoundsAClientContributedTo) {
  StartWith({kCharite, kUke});
  Contribute(kUke);
  Contribute(kCharite);
  EXPECT_EQ(ViewOf(kUke).rounds_contributed, 0);
  ReleaseDone();
  EXPECT_EQ(ViewOf(kUke).rounds_contributed, 1);
}

TEST_F(RunTest, TakesHundredsOfClientsThroughHundredsOfRounds) {
  plan_.rounds.count = 100;
  plan_.rounds.quorum = 100;
  std::vector<Institution> institutions;
  institutions.reserve(100);
  for (int i = 0; i < 100; ++i) institutions.push_back({fmt::format("clinic-{:03}", i)});
  StartWith(institutions);
  for (int round = 0; round < 100; ++round) {
    for (const Institution& institution : institutions) {
      run_->Receive(institution, ContributionTaken{Header(institution)}, now_);
    }
    ASSERT_EQ(ReleaseDone().size(), 101u);
  }
  EXPECT_EQ(run_->view().rounds_done, 100);
}

}  // namespace
}  // namespace fedtune::testing
