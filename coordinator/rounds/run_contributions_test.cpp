// SPDX-License-Identifier: Apache-2.0

// What a run takes of what clients hand in, and what it does when it is lost.

#include "base/status.h"
#include "coordinator/rounds/run.h"
#include "tests/support/run_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

// ---- Contributions that are lost ----

TEST_F(RunTest, AsksAgainForAContributionThatIsLostWhenItIsToBeSummed) {
  StartWith({kCharite, kUke});
  Contribute(kUke);
  Contribute(kCharite);
  EXPECT_THAT(Lines(run_->Receive(ContributionsLost{{kUke}}, now_)),
              ElementsAre("assign uke 0.1: train B, evaluate"));
  EXPECT_EQ(run_->view().phase, RunPhase::kTraining);
  EXPECT_FALSE(run_->CheckContribution(kUke, Header(kUke))->repeated);
  EXPECT_THAT(Contribute(kUke), ElementsAre("release 0.1: B of 2 contributions"));
  EXPECT_THAT(ReleaseDone(), Contains("open 1.1: A"));
}

TEST_F(RunTest, AsksAllWhoHaveNotAnsweredWhenARoundIsOpenAgain) {
  plan_.rounds.close_at = 2;
  StartWith({kCharite, kUke, kHelios});
  Contribute(kUke);
  Contribute(kCharite);
  EXPECT_THAT(
      Lines(run_->Receive(ContributionsLost{{kUke}}, now_)),
      ElementsAre("assign helios 0.1: train B, evaluate", "assign uke 0.1: train B, evaluate"));
  EXPECT_THAT(Contribute(kHelios), Contains("release 0.1: B of 2 contributions"));
}

TEST_F(RunTest, WaitsForWhatIsLostTenMinutesAfterTheDeadline) {
  StartWith({kCharite, kUke, kHelios});
  for (const Institution& client : {kUke, kCharite, kHelios}) Contribute(client);
  now_ += absl::Hours(2);
  EXPECT_THAT(Lines(run_->Receive(ContributionsLost{{kUke}}, now_)),
              ElementsAre("assign uke 0.1: train B, evaluate"));
  EXPECT_THAT(Advance(absl::Minutes(9)), IsEmpty());
  EXPECT_THAT(Advance(absl::Minutes(1)), Contains("release 0.1: B of 2 contributions"));
}

TEST_F(RunTest, AsksAgainForALateContributionWithTheWorkOfTheOpenRound) {
  plan_.rounds.close_at = 2;
  plan_.rounds.stragglers = Stragglers::kKeep;
  StartWith({kCharite, kUke, kHelios});
  const ContributionHeader late = Header(kHelios);
  Contribute(kUke);
  Contribute(kCharite);
  ReleaseDone();
  ContributionHeader of_the_round = late;
  of_the_round.factors = 1;
  of_the_round.size_bytes = Header(kUke).size_bytes;
  Does(kHelios, ContributionTaken{of_the_round});
  EXPECT_THAT(Lines(run_->Receive(ContributionsLost{{kHelios}}, now_)),
              ElementsAre("assign helios 1.1: train A"));
}

TEST_F(RunTest, StopsAtOnceWhenTheReleaseWaitsForWhatIsLost) {
  StartWith({kCharite, kUke});
  Contribute(kUke);
  Contribute(kCharite);
  run_->Receive(StopRequested{"enough"}, now_);
  EXPECT_THAT(Lines(run_->Receive(ContributionsLost{{kUke}}, now_)),
              Contains("end stopped: enough"));
}

TEST_F(RunTest, NothingIsLostOfAClientThatHasNotContributed) {
  StartWith({kCharite, kUke});
  EXPECT_THAT(run_->Receive(ContributionsLost{{kUke, kHelios}}, now_), IsEmpty());
}

// ---- Contributions ----

TEST_F(RunTest, TakesAContributionOnce) {
  StartWith({kCharite, kUke});
  const ContributionHeader header = Header(kUke);
  EXPECT_FALSE(run_->CheckContribution(kUke, header)->repeated);
  Contribute(kUke);
  EXPECT_TRUE(run_->CheckContribution(kUke, header)->repeated);
  Contribute(kCharite);
  ReleaseDone();
  EXPECT_TRUE(run_->CheckContribution(kUke, header)->repeated);  // Its answer was lost.
}

TEST_F(RunTest, KnowsAContributionOfAClientThatHasDeclinedSince) {
  StartWith({kCharite, kUke, kHelios});
  const ContributionHeader header = Header(kUke);
  Contribute(kUke);
  Does(kUke, RunDeclined{"its records have moved"});
  EXPECT_TRUE(run_->CheckContribution(kUke, header)->repeated);
}

TEST_F(RunTest, WeighsAContributionAsWhenItWasTaken) {
  StartWith({kCharite, kUke, kHelios});
  const ContributionHeader header = Header(kUke);
  Contribute(kUke);
  Accept(kUke, 200);
  EXPECT_EQ(run_->CheckContribution(kUke, header)->weight, 100);
  EXPECT_EQ(run_->CheckContribution(kUke, header)->example_count, 100);
}

TEST_F(RunTest, RefusesASecondContributionOfOneClient) {
  StartWith({kCharite, kUke});
  Contribute(kUke);
  ContributionHeader other = Header(kUke);
  other.sha256 = Sha256Of("other");
  EXPECT_THAT(run_->CheckContribution(kUke, other), HasCode(kPrecondition));
}

TEST_F(RunTest, RefusesContributionsToRoundsThatAreNotOpen) {
  Start({kCharite, kUke});
  Accept(kCharite);
  ContributionHeader header = Header(kCharite);
  EXPECT_EQ(Message(run_->CheckContribution(kCharite, header).status()),
            "round 1, attempt 0, takes no contributions: the run is inviting");
  Accept(kUke);
  header.round = 1;
  header.attempt = 1;
  EXPECT_EQ(Message(run_->CheckContribution(kCharite, header).status()),
            "round 2, attempt 1, takes no contributions: open is round 1, attempt 1");
  header = Header(kCharite);
  header.attempt = 2;
  EXPECT_THAT(run_->CheckContribution(kCharite, header), HasCode(kPrecondition));
}

TEST_F(RunTest, RefusesContributionsOfStrangers) {
  StartWith({kCharite, kUke});
  EXPECT_THAT(run_->CheckContribution(kHelios, Header(kHelios)),
              HasCode(absl::StatusCode::kPermissionDenied));
}

TEST_F(RunTest, RefusesAContributionOfAClientThatGaveUp) {
  StartWith({kCharite, kUke, kHelios});
  Fail(kHelios);
  EXPECT_THAT(run_->CheckContribution(kHelios, Header(kHelios)), HasCode(kPrecondition));
}

TEST_F(RunTest, RefusesAContributionTrainedFromAnotherAdapter) {
  StartWith({kCharite, kUke});
  ContributionHeader header = Header(kUke);
  header.adapter = AdapterOf(5);
  const auto admission = run_->CheckContribution(kUke, header);
  EXPECT_THAT(admission, HasCode(kPrecondition));
  EXPECT_THAT(Message(admission.status()), HasSubstr("was trained from adapter"));
}

}  // namespace
}  // namespace fedtune::testing
