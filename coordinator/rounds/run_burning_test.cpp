// SPDX-License-Identifier: Apache-2.0

// Secure rounds that come to nothing, and how a run ends because of them.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/secure_run_fixture.h"

namespace fedtune {
namespace {

using ::testing::HasSubstr;
using testing::kAdapter;

class BurningRunTest : public testing::SecureRunTest {
 protected:
  void StartWithAll() {
    Start();
    EveryoneAccepts();
  }

  // Two clients fall silent when they are told who has survived.
  void RoundBurns() {
    silent_from_ = {{1, MessageKind::kSurvivors}, {2, MessageKind::kSurvivors}};
    EveryoneTrains();
    AnswerAll();
    TimeIsUp();
  }

  void RoundIsSummed() {
    silent_from_.clear();
    EveryoneTrains();
    AnswerAll();
  }

  void ReleaseFails(const std::string& why) { Carry(run_->Receive(ReleaseFailed{why}, now_)); }
};

TEST_F(BurningRunTest, NoMoreClientsAreAskedThanThePlanMayAddUp) {
  Enrol(6);
  Enrol(7);
  StartWithAll();
  EXPECT_EQ(assigned_.size(), 5u);
}

TEST_F(BurningRunTest, NorInTheFinalEvaluation) {
  Enrol(6);
  Enrol(7);
  final_evaluation_ = true;
  GoOnWithAll({.rounds_done = plan_.rounds.count});
  EXPECT_EQ(run_->view().phase, RunPhase::kEvaluating);
  EXPECT_EQ(assigned_.size(), 5u);
}

TEST_F(BurningRunTest, SaysWhy) {
  StartWithAll();
  RoundBurns();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.burnt,
            "too few clients agreed on the survivors: site-1, site-2 did not answer");
}

TEST_F(BurningRunTest, EndsWhenTheSumsOfTwoRoundsInARowCannotBeUnmasked) {
  StartWithAll();
  RoundIsSummed();
  ReleaseFails("a sum that so many clients cannot have");
  ASSERT_EQ(released_.size(), 2u);
  EXPECT_TRUE(released_[1].unchanged);
  Released(kAdapter);
  RoundIsSummed();
  ReleaseFails("a sum that so many clients cannot have");
  EXPECT_EQ(run_->view().state, RunState::kFailed);
  EXPECT_THAT(run_->view().reason, HasSubstr("a sum that so many clients cannot have"));
}

TEST_F(BurningRunTest, ARoundThatCountsEndsTheRow) {
  plan_.rounds.count = 4;
  StartWithAll();
  RoundBurns();
  Released(kAdapter);
  RoundIsSummed();
  Released(Sha256Of("adapter 1"));
  RoundBurns();
  Released(Sha256Of("adapter 1"));
  EXPECT_EQ(run_->view().state, RunState::kRunning);
  EXPECT_EQ(run_->view().rounds_done, 3);
}

TEST_F(BurningRunTest, AProcessThatEndsBetweenTwoRoundsDoesNotEndTheRow) {
  GoOnWithAll({.rounds_done = 1, .rounds_burnt = 1, .burnt_in_a_row = 1});
  RoundBurns();
  EXPECT_EQ(run_->view().state, RunState::kFailed);
}

TEST_F(BurningRunTest, AReleaseSaysHowManyHaveBurntInARow) {
  plan_.rounds.count = 4;
  StartWithAll();
  RoundIsSummed();
  EXPECT_TRUE(released_.back().between.empty());
  Released(Sha256Of("adapter 1"));
  RoundBurns();
  EXPECT_EQ(released_.back().between.burnt_in_a_row, 1);
}

TEST_F(BurningRunTest, ARoundThatARetriedRunBurnsCountsForNoRowInAnyProcess) {
  GoOnWithAll({.attempts_opened = 1, .retried = true});
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].between.burnt_in_a_row, 0);
}

// As after a restore: the clients have gone on with a coordinator that is lost.
TEST_F(BurningRunTest, RoundsInWhichTheClientsHaveAgreedBeforeBurnOneAfterTheOther) {
  plan_.rounds.count = 5;
  StartWithAll();
  for (uint32_t number = 1; number <= 5; ++number) {
    Receive(Name(number), ClientFailed{0, 1, "it has agreed before", 3});
  }
  assigned_.clear();
  for (size_t round = 0; round < 3; ++round) {
    ASSERT_EQ(released_.size(), round + 1);
    EXPECT_TRUE(released_[round].unchanged);
    EXPECT_THAT(released_[round].summary.burnt, HasSubstr("have agreed on its survivors before"));
    EXPECT_TRUE(assigned_.empty()) << "nobody trains in vain";
    Released(kAdapter);
  }
  EXPECT_EQ(assigned_.at(1).round, 3);
  RoundIsSummed();
  EXPECT_EQ(released_.back().summary.contributions, 5);
}

TEST_F(BurningRunTest, AFewClientsBurnNoRoundButTheOneThatFailsWithoutThem) {
  plan_.rounds.count = 5;
  StartWithAll();
  Receive(Name(1), ClientFailed{0, 1, "it has agreed before", 1'000'000});
  EXPECT_TRUE(released_.empty()) << "the others are a quorum";
  Receive(Name(2), ClientFailed{0, 1, "it has agreed before", 1'000'000});
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
  Released(kAdapter);
  EXPECT_EQ(assigned_.at(1).round, 1);
}

TEST_F(BurningRunTest, ARunOfWhichNoRoundCountedHasFailed) {
  plan_.rounds.count = 1;
  StartWithAll();
  RoundBurns();
  Carry(run_->Receive(
      fedtune::Released{.round = 0, .adapter = kAdapter, .counted = released_.back().summary},
      now_));
  EXPECT_EQ(run_->view().state, RunState::kFailed);
  EXPECT_THAT(run_->view().reason, HasSubstr("all of its 1 rounds have burnt; the last one: "));
}

TEST_F(BurningRunTest, ARunOfWhichOneRoundCountedHasFinished) {
  StartWithAll();
  RoundIsSummed();
  Released(Sha256Of("adapter 1"));
  RoundBurns();
  Released(Sha256Of("adapter 1"));
  EXPECT_EQ(run_->view().state, RunState::kFinished);
}

class MissingEvaluationTest : public BurningRunTest {
 protected:
  MissingEvaluationTest() { final_evaluation_ = true; }

  void StartEvaluation() { GoOnWithAll({.rounds_done = plan_.rounds.count}); }

  void ExpectMissing(const std::string& why) {
    EXPECT_EQ(run_->view().state, RunState::kFinished);
    EXPECT_THAT(run_->view().reason,
                AllOf(HasSubstr("the final evaluation is missing: "), HasSubstr(why)));
  }
};

TEST_F(MissingEvaluationTest, WhenItsSumCannotBeUnmasked) {
  StartEvaluation();
  RoundIsSummed();
  ReleaseFails("a sum that so many clients cannot have");
  ExpectMissing("a sum that so many clients cannot have");
}

TEST_F(MissingEvaluationTest, WhenNobodyHadRecordsToEvaluateItOn) {
  StartEvaluation();
  RoundIsSummed();
  Released(kAdapter);
  ExpectMissing("no client has records");
}

TEST_F(MissingEvaluationTest, WhenTooFewTakePart) {
  StartEvaluation();
  Trained(1);
  TimeIsUp();  // For those who are away.
  TimeIsUp();
  ExpectMissing("1 clients are too few");
}

TEST_F(MissingEvaluationTest, WhenTooFewAreThereToBegin) {
  ResumePoint point{.rounds_done = plan_.rounds.count};
  for (uint32_t number = 1; number <= 5; ++number) {
    point.clients.push_back({.institution = Name(number), .accepted = true});
    if (number > 2) setting_.numbers.erase(Name(number));
  }
  Start(std::move(point));
  ExpectMissing("2 clients are too few");
}

TEST_F(MissingEvaluationTest, WhenSomethingThatBelongsIntoTheSumIsLost) {
  StartEvaluation();
  silent_from_ = {{5, MessageKind::kSharesForYou}};
  EveryoneTrains();
  AnswerAll();
  Carry(run_->Receive(ReleaseFailed{"an input is lost"}, now_));
  ExpectMissing("an input is lost");
}

TEST_F(MissingEvaluationTest, WhenItWasOpenInAProcessThatLostIt) {
  GoOnWithAll({.rounds_done = plan_.rounds.count, .attempts_opened = 1});
  ExpectMissing("is not begun again");
}

// There is no round that a pause could hold back, whatever the evaluation has come to.
TEST_F(BurningRunTest, AFinalEvaluationCannotBePaused) {
  final_evaluation_ = true;
  StartWithAll();
  RoundIsSummed();
  EXPECT_TRUE(run_->CanPause());
  Released(Sha256Of("adapter 1"));
  RoundIsSummed();
  EXPECT_TRUE(run_->CanPause()) << "the final evaluation is still to be opened";
  Released(Sha256Of("adapter 2"));
  EXPECT_EQ(run_->view().phase, RunPhase::kEvaluating);
  EXPECT_FALSE(run_->CanPause());
  EveryoneTrains();
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  EXPECT_FALSE(run_->CanPause());
  AnswerAll();
  EXPECT_EQ(run_->view().phase, RunPhase::kReleasing);
  EXPECT_FALSE(run_->CanPause());
  Carry(run_->Receive(PauseRequested{"by ada"}, now_));
  EXPECT_FALSE(run_->view().pausing);
}

TEST_F(BurningRunTest, AStopThatCameWhileTheSumWasUnmaskedHoldsThoughItCannotBe) {
  StartWithAll();
  RoundIsSummed();
  Carry(run_->Receive(StopRequested{"by ada"}, now_));
  ReleaseFails("a sum that so many clients cannot have");
  EXPECT_EQ(run_->view().state, RunState::kStopped);
  EXPECT_THAT(run_->view().reason,
              "by ada; round 1 could not be released: a sum that so many clients cannot have");
}

}  // namespace
}  // namespace fedtune
