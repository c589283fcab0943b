// SPDX-License-Identifier: Apache-2.0

// Secure rounds in which something goes wrong: with the disk, the training, the
// coordinator's word, or another process.

#include "base/status.h"
#include "client/round/secure_submission.h"
#include "tests/support/secure_submission_fixture.h"

namespace fedtune::testing {
namespace {

using ::testing::HasSubstr;

constexpr auto kGivenUp = absl::StatusCode::kAborted;
constexpr auto kUnavailable = absl::StatusCode::kUnavailable;

using SecureSubmissionFaultsTest = SecureSubmissionTest;

TEST_F(SecureSubmissionFaultsTest, GivesUpWhenTrainingGaveAnotherDeltaThanBefore) {
  PlayUntil(CoordinatorSession::Phase::kCollecting);
  Party& uke = parties_.at(2);
  const Bytes message = coordinator_->MessageFor(2);
  ASSERT_THAT(uke.Receive(message), IsOk());
  uke.contribution->delta[5] += 0.01f;
  uke.Start();
  const absl::Status status = uke.Receive(message);
  EXPECT_THAT(status, HasCode(kGivenUp));
  EXPECT_THAT(Message(status), HasSubstr("training gave another delta"));
  EXPECT_EQ(uke.link.uploads, 1);
  uke.Start();
  EXPECT_THAT(uke.begin_status, HasCode(kGivenUp));
}

TEST_F(SecureSubmissionFaultsTest, TriesAgainWhenTheCoordinatorHasNoSpaceForTheInput) {
  PlayUntil(CoordinatorSession::Phase::kCollecting);
  Party& uke = parties_.at(2);
  uke.link.verdict = absl::UnavailableError("no space");
  EXPECT_THAT(uke.Receive(coordinator_->MessageFor(2)), HasCode(kUnavailable));
  uke.link.verdict = absl::OkStatus();
  ASSERT_THAT(uke.Continue(), IsOk());
  EXPECT_EQ(uke.link.uploads, 2);
  PassOn(2);
}

TEST_F(SecureSubmissionFaultsTest, SaysNothingThatItCouldNotStoreAndTriesAgain) {
  Advertise();
  Party& uke = parties_.at(2);
  const Bytes said = uke.link.said;
  ASSERT_THAT(uke.journal->LimitPages(1), IsOk()) << "no more than there are";
  const Bytes message = coordinator_->MessageFor(2);
  const absl::Status full = uke.Receive(message);
  EXPECT_THAT(full, HasCode(kUnavailable));
  EXPECT_THAT(Message(full), HasSubstr("disk full"));
  EXPECT_THAT(uke.Continue(), HasCode(kUnavailable));
  EXPECT_EQ(uke.link.said, said);
  ASSERT_THAT(uke.journal->LimitPages(1'000), IsOk());
  ASSERT_THAT(uke.Continue(), IsOk());
  EXPECT_NE(uke.link.said, said);
  PassOn(2);
}

TEST_F(SecureSubmissionFaultsTest, SaysNothingOfAnInputThatTheCoordinatorDoesNotHave) {
  PlayUntil(CoordinatorSession::Phase::kCollecting);
  Party& uke = parties_.at(2);
  const Bytes said = uke.link.said;
  uke.link.verdict = absl::UnavailableError("no space");
  ASSERT_THAT(uke.Receive(coordinator_->MessageFor(2)), HasCode(kUnavailable));
  ASSERT_THAT(uke.Continue(), HasCode(kUnavailable));
  EXPECT_EQ(uke.link.said, said);
}

TEST_F(SecureSubmissionFaultsTest, GivesUpForGoodWhenTheCoordinatorTellsTwoStories) {
  PlayUntil(CoordinatorSession::Phase::kAgreeing);
  Party& uke = parties_.at(2);
  Survivors survivors{PlaceSet(kClients)};
  for (int place = 0; place < kClients; ++place) survivors.survivors.Insert(place);
  ASSERT_THAT(uke.Receive(Encode(survivors)), IsOk());
  survivors = {PlaceSet(kClients)};
  for (int place = 0; place < 4; ++place) survivors.survivors.Insert(place);
  const Bytes said = uke.link.said;
  EXPECT_THAT(uke.Receive(Encode(survivors)), HasCode(kGivenUp));
  EXPECT_THAT(uke.Continue(), HasCode(kGivenUp));
  EXPECT_EQ(uke.link.said, said);
  uke.Start();
  EXPECT_THAT(Message(uke.begin_status), HasSubstr("is burnt"));
}

TEST_F(SecureSubmissionFaultsTest, GivesUpForGoodOnAMessageThatIsNone) {
  Advertise();
  Party& uke = parties_.at(2);
  EXPECT_THAT(uke.Receive({99}), HasCode(kGivenUp));
  uke.Start();
  EXPECT_THAT(Message(uke.begin_status), HasSubstr("not taken up again"));
  uke.Start(/*attempt=*/2);
  EXPECT_THAT(uke.begin_status, IsOk()) << "nothing was agreed on";
}

TEST_F(SecureSubmissionFaultsTest, NeverBeginsAnotherAttemptAtABurntRound) {
  PlayUntil(CoordinatorSession::Phase::kUnmasking);
  Party& uke = parties_.at(2);
  uke.Start(/*attempt=*/2);
  EXPECT_THAT(uke.begin_status, HasCode(kGivenUp));
  EXPECT_THAT(Message(uke.begin_status), HasSubstr("round 8 of run-1 is burnt"));
}

// Two processes on one folder; the coordinator tells each of them other survivors.
TEST_F(SecureSubmissionFaultsTest, OfTwoProcessesOneAgreesAndTheOtherSaysNothing) {
  PlayUntil(CoordinatorSession::Phase::kAgreeing);
  Party& uke = parties_.at(2);
  SessionJournal journal =
      *SessionJournal::Open(uke.folder.path() / "sessions.db", *uke.material->membership->key);
  auto second = *SecureSubmission::Resume(uke.work, journal);
  ASSERT_TRUE(second.has_value());
  Survivors all{PlaceSet(kClients)};
  for (int place = 0; place < kClients; ++place) all.survivors.Insert(place);
  Survivors fewer{PlaceSet(kClients)};
  for (int place = 0; place < 4; ++place) fewer.survivors.Insert(place);
  ASSERT_THAT(uke.Receive(Encode(all)), IsOk());
  FakeLink link;
  EXPECT_THAT(second->Receive(Encode(fewer), link, {}), HasCode(kGivenUp));
  EXPECT_THAT(second->Continue(link, {}), HasCode(kGivenUp));
  EXPECT_TRUE(link.said.empty());
  ASSERT_THAT(uke.Receive(coordinator_->MessageFor(2)), IsOk()) << "the first one goes on";
  PassOn(2);
}

// In the place in which a delta that differs is looked for.
TEST_F(SecureSubmissionFaultsTest, SaysThatAnotherProcessWasFasterWithTheInput) {
  PlayUntil(CoordinatorSession::Phase::kCollecting);
  Party& uke = parties_.at(2);
  const std::shared_ptr<Contribution> trained = std::exchange(uke.contribution, nullptr);
  const Bytes message = coordinator_->MessageFor(2);
  uke.Start();
  ASSERT_THAT(uke.Receive(message), IsOk());
  SessionJournal journal =
      *SessionJournal::Open(uke.folder.path() / "sessions.db", *uke.material->membership->key);
  auto second = *SecureSubmission::Resume(uke.work, journal);
  uke.submission->Offer(trained);
  ASSERT_THAT(uke.Continue(), IsOk());
  second->Offer(trained);
  const absl::Status refused = second->Receive(message, uke.link, {});
  EXPECT_THAT(refused, HasCode(kGivenUp));
  EXPECT_THAT(Message(refused), HasSubstr("another process goes on"));
  EXPECT_EQ(uke.link.uploads, 1);
}

}  // namespace
}  // namespace fedtune::testing
