// SPDX-License-Identifier: Apache-2.0

// Every change of what is stored of a run has its entries in the log, and nothing else has.

#include "coordinator/storage/audit_log.h"

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/storage/log_rows.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/audit/log_entry.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::FakeClock;
using testing::HasCode;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::SizeIs;
using testing::TemporaryDirectory;

constexpr size_t kPiece = 1 << 20;
const std::string kInitial = "initial adapter";
const RunId kRun{"run-0001"};

std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

class AuditLogTest : public ::testing::Test {
 protected:
  AuditLogTest() { Open(); }

  void Open() {
    store_.reset();
    log_.reset();
    state_.reset();
    state_ = *OpenStateDatabase(directory_.path() / kDatabaseName);
    store_ = *SqliteRunStore::Open(
        state_, {.blobs = directory_.path() / kBlobsName, .clock = &clock_, .log_id = "11aa"});
    log_ = std::make_unique<AuditLog>(state_);
  }

  absl::Status Insert(const std::string& id = kRun.value) {
    RunRecord run;
    run.id = {id};
    run.request_id = "request of " + id;
    run.plan_toml = "name = \"icd10\"";
    run.layout_json = "{\"layout\": 1}";
    run.base_digest = Sha256Of("base").ToString();
    run.started_by = "grace";
    run.initial_adapter = run.adapter = Sha256Of(kInitial);
    return store_->Insert(run, {}, AsBytes(kInitial));
  }

  static std::string Adapter(int64_t round) { return "adapter " + std::to_string(round); }

  absl::Status SaveRelease(int64_t round, const std::vector<std::string>& institutions,
                           const std::string& burnt = "") {
    const std::string adapter = burnt.empty() ? Adapter(round) : kInitial;
    NewRelease release;
    release.record.summary = {.round = round,
                              .attempt = 2,
                              .contributions = std::ssize(institutions),
                              .evaluation = {},
                              .burnt = burnt};
    release.record.adapter = Sha256Of(adapter);
    release.adapter = AsBytes(adapter);
    for (const std::string& name : institutions) {
      release.contributions.push_back(
          {.institution = {name}, .sha256 = Sha256Of(name), .metrics = {}});
    }
    return store_->SaveRelease(kRun, release);
  }

  absl::Status End(RunState state, const std::string& reason) {
    return store_->End(kRun, {.state = state,
                              .reason = reason,
                              .ended_at = clock_.Now(),
                              .clients = {},
                              .last_evaluation = {},
                              .traffic = {}});
  }

  // What the log says from its entry `from` on.
  std::vector<LogEvent> Events(uint64_t from = 0) const {
    std::vector<LogEvent> events;
    const uint64_t size = log_->Head()->size;
    if (from == size) return events;
    const auto stored = log_->Entries(from, size, kPiece);
    for (const std::string& bytes : *stored) {
      const auto entry = ParseLogEntry(bytes);
      EXPECT_THAT(entry, IsOk()) << bytes;
      EXPECT_EQ(entry->at, clock_.Now());
      events.push_back(entry->event);
    }
    return events;
  }

  // What a change has added.
  std::vector<LogEvent> After(const absl::Status& change) {
    EXPECT_THAT(change, IsOk());
    return Events(std::exchange(seen_, log_->Head()->size));
  }

  LogHead HeadOf(uint64_t size) const {
    LogSubtrees tree;
    const auto stored = log_->Entries(0, size, SIZE_MAX);
    for (const std::string& bytes : *stored) {
      tree.Append(MerkleLeaf(SpanOf(bytes)));
    }
    return {.size = size, .root = *LogRoot(tree, size)};
  }

  static RunStarted Start() {
    return {.run = kRun.value,
            .plan = Sha256Of("name = \"icd10\""),
            .layout = Sha256Of("{\"layout\": 1}"),
            .base_digest = Sha256Of("base").ToString(),
            .adapter = Sha256Of(kInitial),
            .started_by = "grace"};
  }
  static ContributionCounted Counted(int64_t round, const std::string& name) {
    return {.run = kRun.value, .round = round, .institution = name, .contribution = Sha256Of(name)};
  }

  const TemporaryDirectory directory_;
  const FakeClock clock_ = {};
  std::shared_ptr<StateDatabase> state_;
  std::unique_ptr<RunStore> store_;
  std::unique_ptr<AuditLog> log_;
  uint64_t seen_ = 1;  // The beginning.
};

TEST_F(AuditLogTest, BeginsOnce) {
  EXPECT_THAT(Events(), ElementsAre(LogEvent(LogBegun{.id = "11aa"})));
  Open();
  EXPECT_THAT(Events(), SizeIs(1));
}

TEST_F(AuditLogTest, NoTwoLogsBeginAlike) {
  std::vector<LogEntry> beginnings;
  for (const char* name : {"a", "b"}) {
    const auto state = *OpenStateDatabase(directory_.path() / name);
    ASSERT_THAT(SqliteRunStore::Open(state, {.blobs = directory_.path() / kBlobsName}), IsOk());
    beginnings.push_back(*ParseLogEntry(AuditLog(state).Entries(0, 1, kPiece)->front()));
  }
  EXPECT_NE(std::get<LogBegun>(beginnings[0].event).id, std::get<LogBegun>(beginnings[1].event).id);
}

TEST_F(AuditLogTest, EachChangeOfARunHasItsEntries) {
  EXPECT_THAT(After(Insert()), ElementsAre(LogEvent(Start())));
  EXPECT_THAT(After(store_->OpenJournal(kRun, 1, "opened")),
              ElementsAre(LogEvent(RoundOpened{
                  .run = kRun.value, .round = 0, .attempt = 1, .adapter = Sha256Of(kInitial)})));
  EXPECT_THAT(After(store_->SetPause(kRun, "maintenance")),
              ElementsAre(LogEvent(PauseAsked{.run = kRun.value, .reason = "maintenance"})));
  EXPECT_THAT(After(store_->SetPause(kRun, std::nullopt)),
              ElementsAre(LogEvent(RunResumed{.run = kRun.value})));
  EXPECT_THAT(After(SaveRelease(0, {"ada", "bea"})),
              ElementsAre(LogEvent(Counted(0, "ada")), LogEvent(Counted(0, "bea")),
                          LogEvent(RoundReleased{.run = kRun.value,
                                                 .round = 0,
                                                 .attempt = 2,
                                                 .contributions = 2,
                                                 .adapter = Sha256Of(Adapter(0)),
                                                 .burnt = ""})));
  EXPECT_THAT(After(store_->OpenJournal(kRun, 2, "opened")),
              ElementsAre(LogEvent(RoundOpened{
                  .run = kRun.value, .round = 1, .attempt = 2, .adapter = Sha256Of(Adapter(0))})));
  EXPECT_THAT(After(store_->RequestStop(kRun, "enough")),
              ElementsAre(LogEvent(StopAsked{.run = kRun.value, .reason = "enough"})));
  EXPECT_THAT(
      After(End(RunState::kStopped, "enough")),
      ElementsAre(LogEvent(RunClosed{.run = kRun.value, .state = "stopped", .reason = "enough"})));
  EXPECT_THAT(After(store_->Reopen(kRun, "entry")),
              ElementsAre(LogEvent(RunReopened{.run = kRun.value})));
}

TEST_F(AuditLogTest, ARunThatEndedBeforeTheLogBeganIsStartedInItBeforeItIsReopened) {
  ASSERT_THAT(Insert(), IsOk());
  ASSERT_THAT(store_->OpenJournal(kRun, 2, "opened"), IsOk());
  ASSERT_THAT(End(RunState::kFailed, "no quorum"), IsOk());
  const LogEvent start = Events().at(1);
  ASSERT_THAT(state_->connection.Execute("DELETE FROM log_entries"), IsOk());
  ASSERT_THAT(state_->connection.Execute("DELETE FROM log_head"), IsOk());
  Open();
  EXPECT_THAT(Events(), ElementsAre(LogEvent(LogBegun{.id = "11aa"})));
  ASSERT_THAT(store_->Reopen(kRun, "entry"), IsOk());
  EXPECT_THAT(Events(), ElementsAre(LogEvent(LogBegun{.id = "11aa"}), start,
                                    LogEvent(RunReopened{.run = kRun.value})));
}

TEST_F(AuditLogTest, ABurntRoundIsReleasedWithItsReason) {
  ASSERT_THAT(Insert(), IsOk());
  ASSERT_THAT(SaveRelease(0, {}, "too few clients agreed"), IsOk());
  EXPECT_EQ(Events().back(), LogEvent(RoundReleased{.run = kRun.value,
                                                    .round = 0,
                                                    .attempt = 2,
                                                    .contributions = 0,
                                                    .adapter = Sha256Of(kInitial),
                                                    .burnt = "too few clients agreed"}));
}

TEST_F(AuditLogTest, WhatChangesNothingHasNoEntry) {
  ASSERT_THAT(Insert(), IsOk());
  ASSERT_THAT(store_->SetPause(kRun, "maintenance"), IsOk());
  ASSERT_THAT(store_->RequestStop(kRun, "enough"), IsOk());
  seen_ = log_->Head()->size;
  EXPECT_THAT(After(store_->SetPause(kRun, "maintenance")), IsEmpty());
  EXPECT_THAT(After(store_->RequestStop(kRun, "more than enough")), IsEmpty());
  EXPECT_THAT(After(store_->SaveClients(kRun, {})), IsEmpty());
  EXPECT_THAT(After(store_->AppendToJournal(kRun, {"one"})), IsEmpty());
  EXPECT_THAT(After(End(RunState::kFinished, "")), SizeIs(1));
  EXPECT_THAT(After(End(RunState::kFailed, "again")), IsEmpty());
  EXPECT_THAT(After(store_->RequestStop(kRun, "enough")), IsEmpty());
}

TEST_F(AuditLogTest, WhatIsRefusedHasNoEntry) {
  const RunId missing{"run-0002"};
  ASSERT_THAT(Insert(), IsOk());
  ASSERT_THAT(SaveRelease(0, {"ada"}), IsOk());
  const LogHead before = *log_->Head();
  EXPECT_THAT(Insert(), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(SaveRelease(0, {"ada"}), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(SaveRelease(7, {"ada"}), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(store_->OpenJournal(missing, 1, ""), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(store_->SetPause(missing, "why"), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(store_->Reopen(kRun, ""), HasCode(absl::StatusCode::kAborted));
  // The second of two from one institution, as the last row that the release adds.
  EXPECT_THAT(SaveRelease(1, {"ada", "ada"}), HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(*log_->Head(), before);
  EXPECT_THAT(store_->SetPause(kRun, std::nullopt), IsOk());
  EXPECT_EQ(*log_->Head(), before);
}

TEST_F(AuditLogTest, GoesOnWhereItWasWhenItIsOpenedAgain) {
  ASSERT_THAT(Insert(), IsOk());
  const LogHead before = *log_->Head();
  Open();
  EXPECT_EQ(*log_->Head(), before);
  ASSERT_THAT(SaveRelease(0, {"ada"}), IsOk());
  EXPECT_EQ(*log_->Head(), HeadOf(4));
}

TEST_F(AuditLogTest, GivesEntriesInPieces) {
  ASSERT_THAT(Insert(), IsOk());
  ASSERT_THAT(SaveRelease(0, {"ada", "bea", "cleo"}), IsOk());
  const std::vector<std::string> all = *log_->Entries(0, 6, kPiece);
  EXPECT_THAT(*log_->Entries(0, 6, 1), ElementsAre(all[0]));
  EXPECT_THAT(*log_->Entries(2, 4, kPiece), ElementsAre(all[2], all[3]));
  EXPECT_THAT(*log_->Entries(4, 6, all[4].size() + 1), ElementsAre(all[4], all[5]));
}

// Over the sizes at which hashes of complete subtrees are stored, and behind them.
TEST_F(AuditLogTest, ProvesWhatItSaysAtEverySize) {
  ASSERT_THAT(Insert(), IsOk());
  LogSubtrees tree;
  std::vector<LogHead> heads = {{.size = 0, .root = MerkleRoot({})}};
  const auto follow = [&](uint64_t size) {
    const auto stored = log_->Entries(tree.size(), size, SIZE_MAX);
    for (const std::string& bytes : *stored) {
      tree.Append(MerkleLeaf(SpanOf(bytes)));
      heads.push_back({.size = tree.size(), .root = *LogRoot(tree, tree.size())});
    }
  };
  for (int64_t attempt = 1; attempt <= 600; ++attempt) {
    ASSERT_THAT(store_->OpenJournal(kRun, attempt, "opened"), IsOk());
    follow(static_cast<uint64_t>(attempt) + 2);
    EXPECT_EQ(*log_->Head(), heads.back());
    const bool shows_all = attempt > 590 || (attempt > 250 && attempt < 260);
    if (!shows_all && attempt % 37 != 0) continue;
    const int64_t asked = attempt / 2 + 1;
    for (uint64_t seen = 0; seen < heads.size(); seen += shows_all ? 1 : 19) {
      const AuditLog::Proof proof = *log_->ProveOpening(kRun.value, 0, asked, seen);
      EXPECT_EQ(proof.head, heads.back());
      EXPECT_EQ(proof.index, static_cast<uint64_t>(asked) + 1);
      EXPECT_THAT(CheckLogConsistency(heads[seen], proof.head, proof.consistency), IsOk());
      EXPECT_THAT(CheckMerkleProof(MerkleLeaf(SpanOf(proof.entry)), proof.index, proof.head.size,
                                   proof.inclusion, proof.head.root),
                  IsOk());
    }
  }
}

TEST_F(AuditLogTest, FindsARunsStartAndAnAttemptsLastOpening) {
  ASSERT_THAT(Insert(), IsOk());
  ASSERT_THAT(Insert("run-0002"), IsOk());
  for (int i = 0; i < 2; ++i) ASSERT_THAT(store_->OpenJournal(kRun, 1, ""), IsOk());
  EXPECT_EQ(log_->ProveStart("run-0001", 0)->index, 1);
  EXPECT_EQ(log_->ProveStart("run-0002", 0)->index, 2);
  EXPECT_EQ(log_->ProveOpening("run-0001", 0, 1, 0)->index, 4);
  EXPECT_THAT(log_->ProveStart("run-0003", 0), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(log_->ProveOpening("run-0001", 0, 2, 0), HasCode(absl::StatusCode::kNotFound));
  EXPECT_THAT(log_->ProveOpening("run-0001", 1, 1, 0), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(AuditLogTest, WhoHasSeenMoreThanThereIsGetsTheHeadAsEvidence) {
  ASSERT_THAT(Insert(), IsOk());
  const AuditLog::Proof proof = *log_->ProveStart(kRun.value, 1000);
  EXPECT_EQ(proof.head.size, 2);
  EXPECT_THAT(proof.consistency, IsEmpty());
}

// A release of a large federation: many levels are completed within one transaction.
TEST_F(AuditLogTest, ALargeReleaseIsInTheTreeWhole) {
  ASSERT_THAT(Insert(), IsOk());
  std::vector<std::string> names;
  for (int i = 0; i < 70'000; ++i) names.push_back("client-" + std::to_string(i));
  ASSERT_THAT(SaveRelease(0, names), IsOk());
  const LogHead head = *log_->Head();
  EXPECT_EQ(head, HeadOf(70'003));
  Open();
  EXPECT_EQ(*log_->Head(), head);
}

TEST_F(AuditLogTest, SaysThatAHashIsMissing) {
  ASSERT_THAT(Insert(), IsOk());
  ASSERT_THAT(SaveRelease(0, std::vector<std::string>{"ada"}), IsOk());
  ASSERT_THAT(state_->connection.Execute("DELETE FROM log_entries WHERE place = 1"), IsOk());
  Open();
  EXPECT_THAT(log_->Head(), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(log_->Entries(0, 3, kPiece), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(AuditLogTest, IsReadWhileItGrows) {
  ASSERT_THAT(Insert(), IsOk());
  std::atomic<bool> done = false;
  std::thread reader([&] {
    LogHead seen;
    while (!done) {
      const AuditLog::Proof proof = *log_->ProveStart(kRun.value, seen.size);
      EXPECT_THAT(CheckLogConsistency(seen, proof.head, proof.consistency), IsOk());
      seen = proof.head;
    }
  });
  for (int64_t attempt = 1; attempt <= 100; ++attempt) {
    EXPECT_THAT(store_->OpenJournal(kRun, attempt, ""), IsOk());
  }
  done = true;
  reader.join();
}

}  // namespace
}  // namespace fedtune
