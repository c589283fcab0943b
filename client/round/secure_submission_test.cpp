// SPDX-License-Identifier: Apache-2.0

#include "client/round/secure_submission.h"

#include "base/status.h"
#include "tests/support/secure_submission_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::HasSubstr;

TEST_F(SecureSubmissionTest, FiveClientsGiveTheirSumAndNothingElse) {
  PlayUntil(CoordinatorSession::Phase::kDone);
  ASSERT_FALSE(HasFatalFailure());
  const UnmaskedSum sum = Unmask();
  EXPECT_EQ(sum.counted().contributions, 5);
  EXPECT_EQ(sum.counted().total_weight, 150);
  EXPECT_EQ(sum.counted().example_count, 150);
  EXPECT_EQ(sum.counted().training_loss, 1.5);
  EXPECT_EQ(sum.counted().before, (EvaluationResult{2, 0.5, 20}));
  EXPECT_EQ(sum.counted().routed_tokens, PlainRoutedTokens());
  std::vector<float> mean(parties_.at(1).contribution->delta.size());
  ASSERT_THAT(sum.Mean(0, mean), IsOk());
  for (size_t i = 0; i < mean.size(); ++i) ASSERT_NEAR(mean[i], PlainMean(i), 1e-5) << i;
  for (const auto& [number, party] : parties_) {
    EXPECT_TRUE(party.submission->finished());
    EXPECT_EQ(party.link.uploads, 1);
  }
}

TEST_F(SecureSubmissionTest, MasksAVectorOfSeveralChunks) {
  Prepare(/*scale=*/520, /*evaluate_only=*/false);
  PlayUntil(CoordinatorSession::Phase::kDone);
  ASSERT_FALSE(HasFatalFailure());
  const UnmaskedSum sum = Unmask();
  ASSERT_GT(sum.layout().element_count(), kChunkElements);
  std::vector<float> mean(parties_.at(1).contribution->delta.size());
  ASSERT_THAT(sum.Mean(0, mean), IsOk());
  for (size_t i = 0; i < mean.size(); i += 997) ASSERT_NEAR(mean[i], PlainMean(i), 1e-5) << i;
}

TEST_F(SecureSubmissionTest, AnEvaluationIsSummedWithoutValues) {
  Prepare(/*scale=*/1, /*evaluate_only=*/true);
  PlayUntil(CoordinatorSession::Phase::kDone);
  ASSERT_FALSE(HasFatalFailure());
  const CountedRounds counted = Unmask().counted();
  EXPECT_EQ(counted.before, (EvaluationResult{2, 0.5, 20}));
  EXPECT_TRUE(counted.routed_tokens.empty());
}

// As many experts in other layers: the vectors are as long, and yet none is summed.
TEST_F(SecureSubmissionTest, ABaseModelWithOtherExpertsIsRefusedWithItsKeys) {
  OpenCoordinator();
  Party& uke = parties_.at(2);
  uke.material->routing = {.layers = 3, .experts = 2, .choices = 2, .most_tokens = 64};
  uke.Start();
  ASSERT_THAT(uke.begin_status, IsOk());
  ASSERT_THAT(uke.Continue(), IsOk());
  const absl::Status refused = coordinator_->Receive(2, uke.link.said);
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(refused), HasSubstr("not its own for this plan, base model, round and "));
}

TEST_F(SecureSubmissionTest, ARestartedClientSaysTheSameBytesAgain) { RestartAllTheTime(); }

// Whose signatures are other ones each time.
TEST_F(SecureSubmissionTest, ARestartedClientOnP256SaysTheSameBytesAgain) {
  Prepare(/*scale=*/1, /*evaluate_only=*/false, CipherSuite::kNistP256);
  RestartAllTheTime();
}

TEST_F(SecureSubmissionTest, AnswersWithoutItsContributionOnceTheInputIsHandedIn) {
  PlayUntil(CoordinatorSession::Phase::kAgreeing);
  Party& uke = parties_.at(2);
  uke.contribution = nullptr;  // It has to train again.
  uke.Start();
  while (!HasFatalFailure() && coordinator_->phase() < CoordinatorSession::Phase::kDone) {
    PlayPhase();
  }
  EXPECT_TRUE(uke.submission->finished());
  EXPECT_EQ(Unmask().counted().total_weight, 150);
}

TEST_F(SecureSubmissionTest, HandsInWhenTrainingIsLaterThanTheOthersShares) {
  PlayUntil(CoordinatorSession::Phase::kCollecting);
  Party& uke = parties_.at(2);
  const std::shared_ptr<Contribution> trained = std::exchange(uke.contribution, nullptr);
  uke.Start();
  ASSERT_THAT(uke.Receive(coordinator_->MessageFor(2)), IsOk());
  EXPECT_EQ(uke.link.uploads, 0);
  uke.submission->Offer(trained);
  ASSERT_THAT(uke.Continue(), IsOk());
  EXPECT_EQ(uke.link.uploads, 1);
}

TEST_F(SecureSubmissionTest, TakesNoPartInARoundThatThePlanDoesNotHave) {
  Party& uke = parties_.at(2);
  uke.work.assignment.id.round = 8;
  uke.Start();
  EXPECT_THAT(uke.begin_status, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(SecureSubmission::Resume(uke.work, *uke.journal),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST_F(SecureSubmissionTest, ResumesNothingThatNeverBegan) {
  Party& uke = parties_.at(2);
  SessionJournal journal =
      *SessionJournal::Open(uke.folder.path() / "sessions.db", *uke.material->membership->key);
  const auto resumed = SecureSubmission::Resume(uke.work, journal);
  ASSERT_THAT(resumed, IsOk());
  EXPECT_FALSE(resumed->has_value());
}

}  // namespace
}  // namespace fedtune::testing
