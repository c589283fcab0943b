// SPDX-License-Identifier: Apache-2.0

// The contract of a store of runs: a round's journal, its release, and which adapters stay.

#include <string>
#include <utility>
#include <vector>

#include "coordinator/storage/run_store.h"
#include "gmock/gmock.h"
#include "tests/support/run_store_fixture.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::AsBytes;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::kAda;

using RunStoreTest = testing::RunStoreFixture;

TEST_P(RunStoreTest, AReleaseBecomesTheRunsHead) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  Reopen();
  const auto run = store_->Get(run_.id);
  ASSERT_THAT(run, IsOk());
  EXPECT_EQ(run->state, RunState::kRunning);
  EXPECT_EQ(run->rounds_done, 1);
  EXPECT_EQ(run->adapter, Sha256Of(Adapter(0)));
  EXPECT_EQ(run->optimizer_state, Sha256Of("state " + Adapter(0)));
  EXPECT_EQ(run->traffic, (Traffic{.bytes_received = 10, .bytes_sent = 20}));
}

TEST_P(RunStoreTest, GivesBackReleasesWithTheirEvaluationsAndRoutedTokens) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  ASSERT_THAT(SaveRelease(1), IsOk());
  EXPECT_THAT(*store_->Releases(run_.id), ::testing::ElementsAre(Release(0), Release(1)));
  EXPECT_THAT(*store_->Evaluations(run_.id),
              ::testing::ElementsAre(*Release(0).summary.evaluation));
}

TEST_P(RunStoreTest, GivesBackTheBytesOfAnAdapter) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  Reopen();
  const auto blob = store_->GetBlob(Sha256Of(Adapter(0)));
  ASSERT_THAT(blob, IsOk());
  EXPECT_EQ(Sha256Of(blob->bytes()), Sha256Of(Adapter(0)));
}

TEST_P(RunStoreTest, RefusesAReleaseOfAnotherRound) {
  ASSERT_THAT(InsertRun(), IsOk());
  EXPECT_THAT(SaveRelease(1), HasCode(absl::StatusCode::kAborted));
  ASSERT_THAT(SaveRelease(0), IsOk());
  EXPECT_THAT(SaveRelease(0), HasCode(absl::StatusCode::kAborted));
  EXPECT_EQ(store_->Get(run_.id)->rounds_done, 1);
}

TEST_P(RunStoreTest, ARefusedReleaseLeavesNothingBehind) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(1), HasCode(absl::StatusCode::kAborted));
  Reopen();
  EXPECT_FALSE(HasBlob(1));
  EXPECT_THAT(*store_->Releases(run_.id), IsEmpty());
}

TEST_P(RunStoreTest, KeepsTheFirstAndTheLastAdapters) {
  ASSERT_THAT(InsertRun(), IsOk());
  for (int64_t round = 0; round < 3; ++round) ASSERT_THAT(SaveRelease(round), IsOk());
  EXPECT_TRUE(HasBlob(-1));
  EXPECT_FALSE(HasBlob(0));
  EXPECT_TRUE(HasBlob(1));
  EXPECT_TRUE(HasBlob(2));
  const std::filesystem::path file = directory_.path() / "blobs" / Sha256Of(Adapter(0)).ToHex();
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_P(RunStoreTest, KeepsWhatLateClientsStartFrom) {
  ASSERT_THAT(InsertRun(), IsOk());
  for (int round = 0; round < 3; ++round) ASSERT_THAT(SaveRelease(round, 0), IsOk());
  EXPECT_TRUE(HasBlob(0));
  ASSERT_THAT(SaveRelease(3, 2), IsOk());
  EXPECT_FALSE(HasBlob(0));
  EXPECT_FALSE(HasBlob(1));
  EXPECT_TRUE(HasBlob(2));
}

TEST_P(RunStoreTest, KeepsOnlyTheNewestOptimizerState) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  ASSERT_THAT(SaveRelease(1), IsOk());
  EXPECT_FALSE(HasOptimizerState(0));
  EXPECT_TRUE(HasOptimizerState(1));
}

TEST_P(RunStoreTest, AnAdapterThatAnotherRunStartsFromStays) {
  ASSERT_THAT(InsertRun(), IsOk());
  RunRecord other = NewRun("run-0002");
  other.initial_adapter = Sha256Of(Adapter(0));
  const std::string adapter = Adapter(0);
  ASSERT_THAT(store_->Insert(other, {}, AsBytes(adapter)), IsOk());
  for (int64_t round = 0; round < 3; ++round) ASSERT_THAT(SaveRelease(round), IsOk());
  EXPECT_TRUE(HasBlob(0));
}

TEST_P(RunStoreTest, AJournalBeginsWithTheOpeningOfAnAttempt) {
  ASSERT_THAT(InsertRun(), IsOk());
  EXPECT_THAT(*store_->Journal(run_.id), IsEmpty());
  ASSERT_THAT(store_->OpenJournal(run_.id, 1, "first"), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->state, RunState::kRunning);
  ASSERT_THAT(store_->AppendToJournal(run_.id, {"a", std::string("b\0c", 3)}), IsOk());
  ASSERT_THAT(store_->AppendToJournal(run_.id, {"d"}), IsOk());
  EXPECT_THAT(*store_->Journal(run_.id), ElementsAre("first", "a", std::string("b\0c", 3), "d"));
  ASSERT_THAT(store_->OpenJournal(run_.id, 2, "second"), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->attempts_opened, 2);
  EXPECT_THAT(*store_->Journal(run_.id), ElementsAre("second"));
}

TEST_P(RunStoreTest, AJournalGoesWithTheRelease) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(store_->OpenJournal(run_.id, 2, "opened"), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->attempts_opened, 0);
  EXPECT_THAT(*store_->Journal(run_.id), IsEmpty());
}

TEST_P(RunStoreTest, AReleaseMayHaveAnEntryUntilTheNextAttemptIsOpened) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(store_->OpenJournal(run_.id, 2, "opened"), IsOk());
  const std::string adapter = Adapter(0);
  ASSERT_THAT(store_->SaveRelease(run_.id, {.record = Release(0),
                                            .contributions = {},
                                            .adapter = AsBytes(adapter),
                                            .optimizer_state = {},
                                            .traffic = {},
                                            .journal = "between rounds"}),
              IsOk());
  EXPECT_EQ(store_->Get(run_.id)->attempts_opened, 0);
  EXPECT_THAT(*store_->Journal(run_.id), ElementsAre("between rounds"));
  ASSERT_THAT(store_->OpenJournal(run_.id, 1, "opened"), IsOk());
  EXPECT_THAT(*store_->Journal(run_.id), ElementsAre("opened"));
}

TEST_P(RunStoreTest, AJournalGoesWithTheRunsEndAndHasNoSecondOne) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(store_->OpenJournal(run_.id, 1, "opened"), IsOk());
  ASSERT_THAT(store_->End(run_.id, {.state = RunState::kStopped,
                                    .reason = "enough",
                                    .ended_at = absl::UnixEpoch(),
                                    .clients = {},
                                    .last_evaluation = {},
                                    .traffic = {}}),
              IsOk());
  EXPECT_THAT(*store_->Journal(run_.id), IsEmpty());
  EXPECT_THAT(store_->OpenJournal(run_.id, 2, "again"), HasCode(absl::StatusCode::kAborted));
}

TEST_P(RunStoreTest, CountsTheRoundsThatAClientContributedTo) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  ASSERT_THAT(SaveRelease(1), IsOk());
  ASSERT_THAT(store_->SaveClients(run_.id, {{.institution = kAda, .reason = ""}}), IsOk());
  EXPECT_EQ(store_->Clients(run_.id)->front().rounds_contributed, 2);
}

TEST_P(RunStoreTest, SaysThatABlobIsNotThere) {
  EXPECT_THAT(store_->GetBlob(Sha256Of("nothing")), HasCode(absl::StatusCode::kNotFound));
}

INSTANTIATE_TEST_SUITE_P(BlobSizes, RunStoreTest, ::testing::Values(100, 5 << 20),
                         [](const auto& info) {
                           return info.param < 1000 ? "InTheDatabase" : "InAFolder";
                         });

}  // namespace
}  // namespace fedtune
