// SPDX-License-Identifier: Apache-2.0

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/secure_run_fixture.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::kAdapter;
using testing::SecureRunTest;

TEST_F(SecureRunTest, ReleasesTheSumOfAll) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) {
    EXPECT_EQ(run_->view().phase, RunPhase::kTraining);
    Trained(number);
  }
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.contributions, 5);
  ASSERT_NE(released_[0].masks, nullptr);
  EXPECT_EQ(released_[0].masks->count(), 5);
  Released(Sha256Of("adapter 1"));
  EXPECT_EQ(run_->view().rounds_done, 1);
  EXPECT_EQ(assigned_.at(1).round, 1);
}

TEST_F(SecureRunTest, GoesOnWithoutOneThatFallsSilent) {
  for (const auto kind : {MessageKind::kKeyDirectory, MessageKind::kSharesForYou,
                          MessageKind::kSurvivors, MessageKind::kAgreementProof}) {
    SCOPED_TRACE(static_cast<int>(kind));
    now_ = absl::ZeroDuration();
    released_.clear();
    silent_from_ = {{2, kind}};
    Start();
    EveryoneAccepts();
    for (uint32_t number = 1; number <= 5; ++number) Trained(number);
    AnswerAll();
    if (released_.empty()) TimeIsUp();
    AnswerAll();
    if (released_.empty()) TimeIsUp();
    AnswerAll();
    ASSERT_EQ(released_.size(), 1u);
    EXPECT_EQ(released_[0].summary.contributions, kind <= MessageKind::kSharesForYou ? 4 : 5);
  }
}

TEST_F(SecureRunTest, TriesAgainWhenTooFewInputsCome) {
  silent_from_ = {{1, MessageKind::kSharesForYou}, {2, MessageKind::kSharesForYou}};
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  AnswerAll();
  TimeIsUp();
  EXPECT_TRUE(released_.empty());
  EXPECT_EQ(run_->view().phase, RunPhase::kTraining);
  EXPECT_EQ(run_->view().attempt, 2);
}

// Two sums over other survivors would be one client's contribution.
TEST_F(SecureRunTest, BurnsTheRoundWhenItFailsAfterTheSurvivorsAreKnown) {
  silent_from_ = {{1, MessageKind::kSurvivors}, {2, MessageKind::kSurvivors}};
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  AnswerAll();
  TimeIsUp();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
  Released(kAdapter);
  EXPECT_EQ(run_->view().rounds_done, 1);
  EXPECT_EQ(assigned_.at(1).round, 1);
  EXPECT_EQ(assigned_.at(1).adapter, kAdapter);
}

TEST_F(SecureRunTest, EndsWhenTwoRoundsBurnInARow) {
  silent_from_ = {{1, MessageKind::kSurvivors}, {2, MessageKind::kSurvivors}};
  Start();
  EveryoneAccepts();
  for (int round = 0; round < 2; ++round) {
    for (uint32_t number = 1; number <= 5; ++number) Trained(number);
    AnswerAll();
    TimeIsUp();
    if (round == 0) Released(kAdapter);
  }
  EXPECT_EQ(run_->view().state, RunState::kFailed);
  EXPECT_THAT(run_->view().reason, HasSubstr("burnt"));
}

TEST_F(SecureRunTest, ACoordinatorThatEndsAtAnyMomentGoesOnToTheSameSum) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  const std::vector<uint32_t> masks = ReleasedMasks();
  // Five clients say five things each after the round's opening.
  for (int entry = 1; entry <= 25; ++entry) {
    SCOPED_TRACE(entry);
    sessions_.clear();
    released_.clear();
    Start();
    EveryoneAccepts();
    entries_to_crash_ = entry;
    for (uint32_t number = 1; number <= 5; ++number) Trained(number);
    AnswerAll();
    EXPECT_LE(entries_to_crash_, 0);
    ASSERT_EQ(released_.size(), 1u);
    EXPECT_EQ(released_[0].summary.contributions, 5);
    EXPECT_EQ(ReleasedMasks(), masks);
  }
}

TEST_F(SecureRunTest, TriesAgainWhenAnInputIsLostBeforeTheSurvivorsAreKnown) {
  silent_from_ = {{5, MessageKind::kSharesForYou}};
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  AnswerAll();
  lost_ = "a bit of an input has changed on the disk";
  Crash();
  EXPECT_TRUE(released_.empty());
  EXPECT_EQ(run_->view().attempt, 2);
}

TEST_F(SecureRunTest, BurnsTheRoundWhenAnInputIsLostAfterwards) {
  silent_from_ = {{5, MessageKind::kSurvivors}};
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  AnswerAll();
  lost_ = "a bit of an input has changed on the disk";
  Crash();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
}

// Who is not needed drops before anybody has agreed on anything.
TEST_F(SecureRunTest, GoesOnWithEnoughKeysAndTellsTheOthersThatItHasClosed) {
  plan_.rounds.close_at = 4;
  Start();
  EveryoneAccepts();
  for (const uint32_t number : {5, 1, 3}) Trained(number);
  EXPECT_EQ(run_->view().phase, RunPhase::kTraining);
  Trained(4);
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  Carry(run_->Receive(Name(2), ClientDisconnected{}, now_));
  assigned_.erase(2);
  Receive(Name(2), ClientConnected{});
  EXPECT_FALSE(assigned_.contains(2)) << "there is nothing for it to do";
  EXPECT_TRUE(faults_.empty());
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_FALSE(released_[0].unchanged);
  EXPECT_EQ(released_[0].summary.contributions, 4);
  Released(kAdapter);
  EXPECT_EQ(assigned_.at(2).round, 1);
}

TEST_F(SecureRunTest, EnoughKeysAreStillEnoughInANewProcess) {
  plan_.rounds.close_at = 4;
  Start();
  EveryoneAccepts();
  for (const uint32_t number : {5, 1, 3, 4}) Trained(number);
  questions_.clear();
  Crash();
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.contributions, 4);
}

TEST_F(SecureRunTest, BurnsTheRoundThatWasOpenWhenARunIsTriedAgain) {
  GoOnWithAll({.rounds_done = 0, .attempts_opened = 2, .retried = true});
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
}

TEST_F(SecureRunTest, BurnsARoundWhoseJournalIsLost) {
  GoOnWithAll({.rounds_done = 0, .attempts_opened = 1});
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_TRUE(released_[0].unchanged);
}

// Its survivors may have been named, as those of any round.
TEST_F(SecureRunTest, AFinalEvaluationThatWasOpenIsNotBegunASecondTime) {
  GoOnWithAll({.rounds_done = plan_.rounds.count, .attempts_opened = 1, .retried = true});
  EXPECT_EQ(run_->view().state, RunState::kFinished);
}

TEST_F(SecureRunTest, AsksAgainAfterAReconnect) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  Carry(run_->Receive(Name(3), ClientDisconnected{}, now_));
  const size_t before = questions_.size();
  Carry(run_->Receive(Name(3), ClientConnected{}, now_));
  ASSERT_EQ(questions_.size(), before + 1);
  EXPECT_EQ(questions_.back().institution, Name(3));
  AnswerAll();
  EXPECT_EQ(released_.size(), 1u);
}

TEST_F(SecureRunTest, AManifestWithoutItsInputCountsForNothing) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  silent_from_ = {{1, MessageKind::kSharesForYou}};
  SendSecureMessage for_one;
  AnswerAll();
  // Client 1 knows what it should hand in, and sends only its signature on it.
  Carry(run_->Receive(Name(1), ClientConnected{}, now_));
  ASSERT_FALSE(questions_.empty());
  ClientSession& session = sessions_.at(1);
  ASSERT_THAT(session.Receive(questions_.back().message), IsOk());
  questions_.clear();
  ASSERT_THAT(session.FixInput(Sha256Of("input")), IsOk());
  Say(1, session.SignInput(Sha256Of("root"))->message);
  EXPECT_TRUE(released_.empty());
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  TimeIsUp();
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.contributions, 4);
}

TEST_F(SecureRunTest, RefusesInputsThatAreNotAwaitedOrNotAsExpected) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  EXPECT_THAT(run_->CheckContribution(Name(1), HeaderOf(1, {5})),
              HasCode(absl::StatusCode::kInvalidArgument));
  ContributionHeader header = HeaderOf(1, {5});
  header.size_bytes -= 4;
  EXPECT_THAT(run_->CheckContribution(Name(1), header),
              HasCode(absl::StatusCode::kInvalidArgument));
  header = HeaderOf(1, {5});
  header.metrics.steps = 3;
  EXPECT_THAT(run_->CheckContribution(Name(1), header),
              HasCode(absl::StatusCode::kInvalidArgument));
  header = HeaderOf(1, {5});
  header.attempt = 9;
  EXPECT_THAT(run_->CheckContribution(Name(1), header),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

// It is not waited for any more: the round goes on when the others are there.
TEST_F(SecureRunTest, AClientWhoseKeysAreNotSignedByItHasFailedTheRound) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 4; ++number) Trained(number);
  Advertisement forged;
  forged.number = 5;
  forged.share_key = Bytes(32, 1);
  forged.mask_key = Bytes(32, 2);
  forged.signature = Bytes(kSignatureSize);
  Say(5, Encode(forged));
  EXPECT_EQ(run_->view().phase, RunPhase::kAggregating);
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.contributions, 4);
}

TEST_F(SecureRunTest, HeedsTheFailureOfAClientOnceHoweverOftenItSaysSo) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 4; ++number) Trained(number);
  const ClientFailed failed{0, 1, "out of memory"};
  EXPECT_TRUE(run_->Heeds(Name(2), failed)) << "its keys are there, and it may fall away still";
  Receive(Name(2), failed);
  EXPECT_FALSE(run_->Heeds(Name(2), failed));
  Trained(5);
  ASSERT_EQ(run_->view().phase, RunPhase::kAggregating);
  EXPECT_FALSE(run_->Heeds(Name(2), failed));
  EXPECT_TRUE(run_->Heeds(Name(3), failed));
  Receive(Name(3), failed);
  EXPECT_FALSE(run_->Heeds(Name(3), failed));
  const size_t told = faults_.size();
  Receive(Name(3), failed);
  EXPECT_EQ(faults_.size(), told);
}

TEST_F(SecureRunTest, NamesAClientThatSendsGarbage) {
  Start();
  EveryoneAccepts();
  for (uint32_t number = 1; number <= 5; ++number) Trained(number);
  Say(4, {3, 1, 2, 3});
  ASSERT_EQ(faults_.size(), 1u);
  EXPECT_EQ(faults_[0].institution, Name(4));
  silent_from_ = {{4, MessageKind::kKeyDirectory}};
  AnswerAll();
  ASSERT_EQ(released_.size(), 1u);
  EXPECT_EQ(released_[0].summary.contributions, 4);
}

}  // namespace
}  // namespace fedtune
