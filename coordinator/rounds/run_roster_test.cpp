// SPDX-License-Identifier: Apache-2.0

// A signing roster that is renewed, and with it the coordinator's process, within a
// secure round.

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/secure_run_fixture.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;

class RenewedRosterTest : public testing::SecureRunTest {
 protected:
  void SetUp() override {
    SecureRunTest::SetUp();
    Start();
    EveryoneAccepts();
  }

  void RenewAndRestart() {
    setting_.roster = Sha256Of("the next roster");
    sessions_.clear();
    assigned_.clear();
    silent_from_.clear();
    Crash();
  }

  void ExpectNextAttemptIsSummed(int64_t contributions) {
    EXPECT_EQ(run_->view().phase, RunPhase::kTraining);
    EXPECT_EQ(run_->view().attempt, 2);
    ASSERT_EQ(assigned_.size(), static_cast<size_t>(contributions));
    for (const auto& [number, assignment] : assigned_) EXPECT_EQ(assignment.attempt, 2);
    const auto asked = assigned_;
    for (const auto& [number, assignment] : asked) Trained(number);
    AnswerAll();
    ASSERT_EQ(released_.size(), 1u);
    EXPECT_FALSE(released_[0].unchanged);
    EXPECT_EQ(released_[0].summary.contributions, contributions);
  }
};

TEST_F(RenewedRosterTest, WhileClientsTrainTheRoundTakesItsNextAttempt) {
  Trained(1);
  Trained(2);
  RenewAndRestart();
  ExpectNextAttemptIsSummed(5);
}

TEST_F(RenewedRosterTest, ClientsWhoseAnswersTheJournalAloneHasAreAsked) {
  answers_are_stored_ = false;
  Trained(1);
  RenewAndRestart();
  ExpectNextAttemptIsSummed(5);
}

TEST_F(RenewedRosterTest, BeforeAllInputsHaveComeTheRoundTakesItsNextAttempt) {
  for (const uint32_t number : {3, 4, 5}) silent_from_[number] = MessageKind::kSharesForYou;
  EveryoneTrains();
  AnswerAll();
  RenewAndRestart();
  ExpectNextAttemptIsSummed(5);
}

TEST_F(RenewedRosterTest, WhoIsNotOnItAnyMoreIsNotAsked) {
  EveryoneTrains();
  setting_.numbers.erase(Name(5));
  setting_.signing_keys.erase(5);
  RenewAndRestart();
  ExpectNextAttemptIsSummed(4);
}

TEST_F(RenewedRosterTest, OnceClientsMayHaveAgreedTheRoundBurns) {
  silent_from_ = {{5, MessageKind::kSurvivors}};
  EveryoneTrains();
  AnswerAll();
  RenewAndRestart();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
  EXPECT_THAT(released_[0].summary.burnt, HasSubstr("the signing roster was renewed"));
  Released(testing::kAdapter);
  EXPECT_EQ(assigned_.at(1).round, 1);
}

// A journal of a program that did not keep which roster it was.
TEST_F(RenewedRosterTest, AJournalWithAClientThatIsOnNoRosterCannotGoOn) {
  setting_.numbers.erase(Name(5));
  setting_.signing_keys.erase(5);
  Effects effects;
  const auto run = fedtune::Run::Start(
      Options(ResumePoint{.attempts_opened = 1, .journal = journal_.Restart(now_)}), now_, effects);
  EXPECT_THAT(run, HasCode(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace fedtune
