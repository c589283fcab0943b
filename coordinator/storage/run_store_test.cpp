// SPDX-License-Identifier: Apache-2.0

// The contract of a store of runs: a run from its start to its end.

#include "coordinator/storage/run_store.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "tests/support/run_store_fixture.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::AsBytes;
using ::testing::ElementsAre;
using testing::HasCode;
using testing::IsOk;
using testing::kAda;
using testing::kBea;
using testing::kStart;
using ::testing::SizeIs;

using RunStoreTest = testing::RunStoreFixture;

TEST_P(RunStoreTest, GivesBackTheRunThatWasInserted) {
  ASSERT_THAT(InsertRun(), IsOk());
  Reopen();
  const auto stored = store_->Get(run_.id);
  ASSERT_THAT(stored, IsOk());
  EXPECT_EQ(*stored, run_);
}

TEST_P(RunStoreTest, KnowsNoRunThatWasNotInserted) {
  EXPECT_THAT(store_->Get({"run-0002"}), HasCode(absl::StatusCode::kNotFound));
}

TEST_P(RunStoreTest, RefusesASecondRunForOneRequest) {
  ASSERT_THAT(InsertRun(), IsOk());
  RunRecord other = NewRun("run-0002");
  other.request_id = run_.request_id;
  EXPECT_THAT(store_->Insert(other, {}, {}), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(*store_->List(), SizeIs(1));
}

TEST_P(RunStoreTest, RefusesASecondRunWithOneId) {
  ASSERT_THAT(InsertRun(), IsOk());
  RunRecord other = run_;
  other.request_id = "another";
  EXPECT_THAT(store_->Insert(other, {}, {}), HasCode(absl::StatusCode::kAlreadyExists));
}

TEST_P(RunStoreTest, FindsARunByItsRequest) {
  ASSERT_THAT(InsertRun(), IsOk());
  EXPECT_EQ((*store_->FindByRequest(run_.request_id))->id, run_.id);
  EXPECT_EQ(*store_->FindByRequest("another"), std::nullopt);
}

TEST_P(RunStoreTest, ListsTheNewestRunFirst) {
  ASSERT_THAT(InsertRun(), IsOk());
  RunRecord later = NewRun("run-0000");
  later.started_at += absl::Minutes(1);
  ASSERT_THAT(store_->Insert(later, {}, {}), IsOk());
  EXPECT_EQ(store_->List()->front().id, later.id);
}

TEST_P(RunStoreTest, ListsRunsWithoutWhatALargeModelHasMegabytesOf) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  RunRecord listed = *store_->Get(run_.id);
  listed.layout_json.clear();
  listed.base_model_json.clear();
  EXPECT_EQ(store_->List()->front(), listed);
}

TEST_P(RunStoreTest, KnowsAllRunsByName) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(store_->Insert(NewRun("run-0000"), {}, {}), IsOk());
  EXPECT_THAT(*store_->Ids(), ElementsAre(RunId{"run-0000"}, RunId{"run-0001"}));
}

TEST_P(RunStoreTest, KnowsThatARunPausesAndWhy) {
  ASSERT_THAT(InsertRun(), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->pause, std::nullopt);
  ASSERT_THAT(store_->SetPause(run_.id, "maintenance"), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  Reopen();
  EXPECT_EQ(store_->Get(run_.id)->pause, "maintenance");
  ASSERT_THAT(store_->SetPause(run_.id, std::nullopt), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->pause, std::nullopt);
  ASSERT_THAT(store_->SetPause(run_.id, ""), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->pause, "");
  ASSERT_THAT(End(RunState::kStopped), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->pause, std::nullopt);
  EXPECT_THAT(store_->SetPause(run_.id, "late"), HasCode(absl::StatusCode::kAborted));
}

TEST_P(RunStoreTest, KnowsThatARunIsToStopAndWhy) {
  ASSERT_THAT(InsertRun(), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->stop, std::nullopt);
  ASSERT_THAT(store_->RequestStop(run_.id, "wrong data"), IsOk());
  ASSERT_THAT(store_->RequestStop(run_.id, "again"), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  Reopen();
  EXPECT_EQ(store_->Get(run_.id)->stop, "wrong data");
  ASSERT_THAT(End(RunState::kStopped), IsOk());
  ASSERT_THAT(store_->Reopen(run_.id, "tried again"), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->stop, std::nullopt);
}

TEST_P(RunStoreTest, WhoDeclinedARunIsAskedAgainWhenItIsTriedAgain) {
  ASSERT_THAT(InsertRun(), IsOk());
  ClientView charite;
  charite.institution = {"charite"};
  charite.state = ClientStanding::kDeclined;
  charite.reason = "the log was rolled back";
  ASSERT_THAT(store_->SaveClients(run_.id, {charite}), IsOk());
  ASSERT_THAT(End(RunState::kFailed), IsOk());
  EXPECT_EQ(store_->Clients(run_.id)->front().state, ClientStanding::kDeclined);
  ASSERT_THAT(store_->Reopen(run_.id, "tried again"), IsOk());
  EXPECT_EQ(store_->Clients(run_.id)->front().state, ClientStanding::kInvited);
  EXPECT_EQ(store_->Clients(run_.id)->front().reason, "");
}

TEST_P(RunStoreTest, OfARunThatHasEndedNoStopIsKept) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(End(RunState::kFailed), IsOk());
  ASSERT_THAT(store_->RequestStop(run_.id, "late"), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->stop, std::nullopt);
}

TEST_P(RunStoreTest, ARunThatFailedIsUnderWayAgainWithAllThatItNeeds) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  ASSERT_THAT(store_->OpenJournal(run_.id, 2, "an entry"), IsOk());
  EXPECT_THAT(store_->Reopen(run_.id, "tried again"), HasCode(absl::StatusCode::kAborted));
  ASSERT_THAT(End(RunState::kFailed), IsOk());
  Reopen();
  const Digest state = Sha256Of("state " + Adapter(0));
  EXPECT_EQ(store_->Get(run_.id)->optimizer_state, state);
  ASSERT_THAT(store_->Reopen(run_.id, "tried again"), IsOk());
  const auto run = store_->Get(run_.id);
  EXPECT_EQ(run->state, RunState::kRunning);
  EXPECT_EQ(run->reason, "");
  EXPECT_EQ(run->ended_at, std::nullopt);
  EXPECT_EQ(run->attempts_opened, 2);
  EXPECT_THAT(*store_->Journal(run_.id), ElementsAre("tried again"));
  EXPECT_THAT(store_->GetBlob(state), IsOk());
  EXPECT_THAT(SaveRelease(1), IsOk());
}

TEST_P(RunStoreTest, ARunThatHasFinishedStaysSo) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  ASSERT_THAT(End(RunState::kFinished), IsOk());
  EXPECT_EQ(store_->Get(run_.id)->optimizer_state, std::nullopt);
  EXPECT_THAT(store_->Reopen(run_.id, "tried again"), HasCode(absl::StatusCode::kAborted));
}

// In one transaction: a coordinator that ends in between would not wait for all of them.
TEST_P(RunStoreTest, ARunIsStoredWithThoseWhoAreInvited) {
  const std::string adapter = Adapter(-1);
  ASSERT_THAT(
      store_->Insert(run_,
                     {{.institution = kAda, .state = ClientStanding::kInvited, .reason = ""},
                      {.institution = kBea, .state = ClientStanding::kInvited, .reason = ""}},
                     AsBytes(adapter)),
      IsOk());
  const auto clients = store_->Clients(run_.id);
  ASSERT_THAT(clients, IsOk());
  ASSERT_THAT(*clients, SizeIs(2));
  EXPECT_EQ((*clients)[0].institution, kAda);
  EXPECT_EQ((*clients)[1].institution, kBea);
}

TEST_P(RunStoreTest, RemembersWhoAcceptedWhenAnotherDeclines) {
  ASSERT_THAT(InsertRun(), IsOk());
  ClientView ada{.institution = kAda, .state = ClientStanding::kDone, .reason = ""};
  ada.accepted = true;
  ada.example_count = 10;
  ClientView bea{.institution = kBea, .state = ClientStanding::kDeclined, .reason = "not at night"};
  ASSERT_THAT(store_->SaveClients(run_.id, {ada}), IsOk());
  ASSERT_THAT(store_->SaveClients(run_.id, {bea}), IsOk());
  const auto clients = store_->Clients(run_.id);
  ASSERT_THAT(clients, IsOk());
  ASSERT_THAT(*clients, SizeIs(2));
  EXPECT_TRUE((*clients)[0].accepted);
  EXPECT_EQ((*clients)[0].example_count, 10);
  EXPECT_EQ((*clients)[1].state, ClientStanding::kDeclined);
  EXPECT_EQ((*clients)[1].reason, "not at night");
}

TEST_P(RunStoreTest, EndsARunWithItsLastEvaluation) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  const RunEnding ending{
      .state = RunState::kStopped,
      .reason = "enough",
      .ended_at = kStart + absl::Hours(1),
      .clients = {{.institution = kAda, .reason = ""}},
      .last_evaluation = EvaluationSummary{.round = 1, .loss = 1.25, .accuracy = {}},
      .traffic = {.bytes_received = 11, .bytes_sent = 21}};
  ASSERT_THAT(store_->End(run_.id, ending), IsOk());
  const auto run = store_->Get(run_.id);
  EXPECT_EQ(run->state, RunState::kStopped);
  EXPECT_EQ(run->reason, "enough");
  EXPECT_EQ(run->ended_at, ending.ended_at);
  EXPECT_EQ(run->traffic, ending.traffic);
  EXPECT_EQ(store_->Evaluations(run_.id)->back().loss, 1.25);
  EXPECT_THAT(*store_->Clients(run_.id), SizeIs(1));
  EXPECT_TRUE(HasOptimizerState(0)) << "it may be tried again";
}

TEST_P(RunStoreTest, AnEndedRunStaysAsItEnded) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(store_->End(run_.id, {.state = RunState::kFailed,
                                    .reason = "no quorum",
                                    .ended_at = kStart,
                                    .clients = {},
                                    .last_evaluation = {},
                                    .traffic = {}}),
              IsOk());
  ASSERT_THAT(store_->End(run_.id, {.state = RunState::kFinished,
                                    .reason = "",
                                    .ended_at = kStart,
                                    .clients = {},
                                    .last_evaluation = {},
                                    .traffic = {}}),
              IsOk());
  EXPECT_THAT(SaveRelease(0), HasCode(absl::StatusCode::kAborted));
  EXPECT_EQ(store_->Get(run_.id)->state, RunState::kFailed);
}

INSTANTIATE_TEST_SUITE_P(BlobSizes, RunStoreTest, ::testing::Values(100, 5 << 20),
                         [](const auto& info) {
                           return info.param < 1000 ? "InTheDatabase" : "InAFolder";
                         });

}  // namespace
}  // namespace fedtune
