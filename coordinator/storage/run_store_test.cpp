// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/run_store.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/storage/sqlite_run_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::SizeIs;
using testing::TemporaryDirectory;

constexpr absl::Time kStart = absl::FromUnixMillis(1'800'000'000'123);
const Institution kAda{"ada"};
const Institution kBea{"bea"};

std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// The bytes of the adapter that `round` left; large ones lie in a folder.
std::string AdapterText(int64_t round, size_t size) {
  std::string text = std::to_string(round);
  text.resize(size, '.');
  return text;
}

// The contract, for blobs inside the database and blobs in a folder.
class RunStoreTest : public ::testing::TestWithParam<size_t> {
 protected:
  RunStoreTest() { Reopen(); }

  void Reopen() {
    store_.reset();
    store_ = *SqliteRunStore::Open(*OpenStateDatabase(directory_.path() / "fedtune.sqlite"),
                                   {.blobs = directory_.path() / "blobs", .keep_adapters = 2});
  }

  std::string Adapter(int64_t round) const { return AdapterText(round, GetParam()); }

  RunRecord NewRun(const std::string& id) const {
    RunRecord run;
    run.id = {id};
    run.request_id = "request of " + id;
    run.plan_name = "icd10";
    run.plan_toml = "name = \"icd10\"";
    run.layout_json = "{}";
    run.base_model_json = "{}";
    run.base_model = "tiny";
    run.base_digest = "sha256:00";
    run.started_by = "grace";
    run.round_count = 3;
    run.started_at = kStart;
    run.initial_adapter = Sha256Of(Adapter(-1));
    run.adapter = run.initial_adapter;
    run.adapter_bytes = GetParam();
    return run;
  }

  absl::Status InsertRun() {
    const std::string adapter = Adapter(-1);
    return store_->Insert(run_, {}, AsBytes(adapter));
  }

  absl::Status SaveRelease(int64_t round, std::optional<int64_t> oldest_wanted = std::nullopt) {
    const std::string adapter = Adapter(round);
    const std::string state = "state " + adapter;
    NewRelease release{.record = Release(round),
                       .contributions = {Contribution(kAda), Contribution(kBea)},
                       .adapter = AsBytes(adapter),
                       .optimizer_state = AsBytes(state),
                       .traffic = {.bytes_received = 10, .bytes_sent = 20},
                       .oldest_wanted = oldest_wanted};
    return store_->SaveRelease(run_.id, release);
  }

  absl::Status End(RunState state) {
    return store_->End(run_.id, {.state = state,
                                 .reason = "over",
                                 .ended_at = kStart,
                                 .clients = {},
                                 .last_evaluation = {},
                                 .traffic = {}});
  }

  ReleaseRecord Release(int64_t round) const {
    ReleaseRecord record;
    record.summary = {.round = round,
                      .attempt = 2,
                      .contributions = 2,
                      .example_count = 30,
                      .training_loss = 1.5,
                      .evaluation = {}};
    if (round == 0) {
      record.summary.evaluation =
          EvaluationSummary{.round = 0, .loss = 2.5, .accuracy = 0.25, .example_count = 12};
    }
    if (round == 1) {
      record.summary.routed = {.experts = 3, .counts = {int64_t{1} << 61, 0, 7, 1, 2, 255}};
      record.summary.burnt = "too few clients agreed";
    }
    record.adapter = Sha256Of(Adapter(round));
    record.started_at = kStart + absl::Seconds(round);
    record.ended_at = record.started_at + absl::Milliseconds(7);
    return record;
  }

  static ContributionRecord Contribution(const Institution& institution) {
    ContributionRecord contribution;
    contribution.institution = institution;
    contribution.weight = 15;
    contribution.example_count = 15;
    contribution.metrics.after = EvaluationResult{.loss = 1, .accuracy = {}, .example_count = 3};
    return contribution;
  }

  bool HasBlob(int64_t round) const { return store_->GetBlob(Sha256Of(Adapter(round))).ok(); }

  bool HasOptimizerState(int64_t round) const {
    return store_->GetBlob(Sha256Of("state " + Adapter(round))).ok();
  }

  const TemporaryDirectory directory_;
  std::unique_ptr<RunStore> store_;
  const RunRecord run_ = NewRun("run-0001");
};

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

TEST_P(RunStoreTest, CountsTheRoundsThatAClientContributedTo) {
  ASSERT_THAT(InsertRun(), IsOk());
  ASSERT_THAT(SaveRelease(0), IsOk());
  ASSERT_THAT(SaveRelease(1), IsOk());
  ASSERT_THAT(store_->SaveClients(run_.id, {{.institution = kAda, .reason = ""}}), IsOk());
  EXPECT_EQ(store_->Clients(run_.id)->front().rounds_contributed, 2);
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

TEST_P(RunStoreTest, SaysThatABlobIsNotThere) {
  EXPECT_THAT(store_->GetBlob(Sha256Of("nothing")), HasCode(absl::StatusCode::kNotFound));
}

INSTANTIATE_TEST_SUITE_P(BlobSizes, RunStoreTest, ::testing::Values(100, 5 << 20),
                         [](const auto& info) {
                           return info.param < 1000 ? "InTheDatabase" : "InAFolder";
                         });

}  // namespace
}  // namespace fedtune
