// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/audit_log_check.h"

#include <memory>
#include <string>
#include <vector>

#include "coordinator/storage/log_rows.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "coordinator/storage/state_check.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::TemporaryDirectory;

const RunId kRun{"run-0001"};

// A log of 700 entries: two complete subtrees, and what is behind them.
class LogCheckTest : public ::testing::Test {
 protected:
  static constexpr int kContributions = 697;

  LogCheckTest() {
    const std::string adapter = "adapter";
    RunRecord run;
    run.id = kRun;
    run.initial_adapter = run.adapter = Sha256Of(adapter);
    EXPECT_THAT(store_->Insert(run, {}, std::as_bytes(std::span(adapter))), IsOk());
    NewRelease release;
    release.record.adapter = run.adapter;
    release.adapter = std::as_bytes(std::span(adapter));
    for (int i = 0; i < kContributions; ++i) {
      release.contributions.push_back(
          {.institution = {fmt::format("client-{}", i)}, .sha256 = {}, .metrics = {}});
    }
    EXPECT_THAT(store_->SaveRelease(kRun, release), IsOk());
  }

  void Tamper(const std::string& sql) { ASSERT_THAT(state_->connection.Execute(sql), IsOk()); }

  void Exchange(int one, int other) {
    Tamper(fmt::format("UPDATE log_entries SET place = -1 WHERE place = {}", one));
    Tamper(fmt::format("UPDATE log_entries SET place = {} WHERE place = {}", one, other));
    Tamper(fmt::format("UPDATE log_entries SET place = {} WHERE place = -1", other));
  }

  std::vector<std::string> Problems() const {
    return *ProblemsOfLog(state_->connection, [](double) { return absl::OkStatus(); });
  }

  const TemporaryDirectory directory_;
  const std::shared_ptr<StateDatabase> state_ =
      *OpenStateDatabase(directory_.path() / kDatabaseName);
  const std::unique_ptr<RunStore> store_ =
      *SqliteRunStore::Open(state_, {.blobs = directory_.path() / kBlobsName});
};

TEST_F(LogCheckTest, FindsNothingInALogAsItWasWritten) { EXPECT_THAT(Problems(), IsEmpty()); }

TEST_F(LogCheckTest, NamesAnEntryThatWasChanged) {
  for (const int place : {3, 300, 699}) {
    Tamper(
        fmt::format("UPDATE log_entries SET bytes = CAST(replace(CAST(bytes AS TEXT), "
                    "'run-0001', 'run-0002') AS BLOB) WHERE place = {}",
                    place));
    EXPECT_THAT(Problems(),
                ::testing::Contains(fmt::format(
                    "entry {} of the audit log was changed: its hash is another one", place)));
  }
}

TEST_F(LogCheckTest, NamesEntriesThatWereRemoved) {
  Tamper("DELETE FROM log_entries WHERE place = 5");
  Tamper("DELETE FROM log_entries WHERE place BETWEEN 600 AND 603");
  EXPECT_THAT(Problems(), ElementsAre("entry 5 of the audit log is missing",
                                      "entries 600 to 603 of the audit log are missing"));
}

TEST_F(LogCheckTest, NamesEntriesOfWhichOneStandsElsewhere) {
  Exchange(258, 259);
  EXPECT_THAT(Problems(), ElementsAre("the audit log's entries 256 to 511 were changed or "
                                      "reordered: their hash is another one"));
}

TEST_F(LogCheckTest, SaysThatTheEndIsMissing) {
  Tamper("DELETE FROM log_entries WHERE place >= 500");
  EXPECT_THAT(Problems(), ElementsAre("the audit log has 500 entries, and 700 were written"));
}

// 700 is 512 + 128 + 32 + 16 + 8 + 4.
TEST_F(LogCheckTest, NamesTheSubtreeInWhichOneOfTheLastEntriesStandsElsewhere) {
  Exchange(697, 698);
  EXPECT_THAT(Problems(), ElementsAre("the audit log's entries 696 to 699 were changed or "
                                      "reordered: their hash is another one"));
  Exchange(513, 639);
  EXPECT_THAT(Problems(), ElementsAre("the audit log's entries 512 to 639 were changed or "
                                      "reordered: their hash is another one",
                                      "the audit log's entries 696 to 699 were changed or "
                                      "reordered: their hash is another one"));
}

TEST_F(LogCheckTest, NamesTheSubtreesBetweenWhichTheLastEntriesWereExchanged) {
  Exchange(520, 690);
  EXPECT_THAT(Problems(), ElementsAre("the audit log's entries 512 to 639 were changed or "
                                      "reordered: their hash is another one",
                                      "the audit log's entries 688 to 695 were changed or "
                                      "reordered: their hash is another one"));
}

TEST_F(LogCheckTest, SaysThatOneOfTheLastEntriesIsAnotherOneWithItsHash) {
  Tamper(
      "UPDATE log_entries SET (leaf, bytes) = (SELECT leaf, bytes FROM log_entries WHERE "
      "place = 650) WHERE place = 651");
  EXPECT_THAT(Problems(), ElementsAre("the audit log's entries 640 to 671 were changed or "
                                      "reordered: their hash is another one"));
}

TEST_F(LogCheckTest, SaysThatTheLastEntryIsMissing) {
  Tamper("DELETE FROM log_entries WHERE place = 699");
  EXPECT_THAT(Problems(), ElementsAre("the audit log has 699 entries, and 700 were written"));
}

TEST_F(LogCheckTest, SaysThatEntriesWereAddedByAnother) {
  Tamper(
      "INSERT INTO log_entries SELECT 700, leaf, NULL, bytes FROM log_entries WHERE place = 699");
  EXPECT_THAT(Problems(), ElementsAre("the audit log has 701 entries, and 700 were written"));
}

TEST_F(LogCheckTest, SaysThatItsHeadIsMissingOrNone) {
  Tamper("UPDATE log_head SET complete = zeroblob(32)");
  EXPECT_THAT(Problems(), ElementsAre("the audit log's head was changed: a log of 700 entries has "
                                      "no 1 complete subtrees"));
  Tamper("DELETE FROM log_head");
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr("the audit log's head is missing")));
}

TEST_F(LogCheckTest, FindsWhatWasExchangedWhateverWasWrittenSince) {
  Exchange(697, 698);
  SqliteTransaction transaction = *SqliteTransaction::Begin(state_->connection);
  LogWriter log = *LogWriter::Begin(state_->connection, absl::UnixEpoch());
  for (int i = 0; i < 400; ++i) ASSERT_THAT(log.Append(RunResumed{.run = kRun.value}), IsOk());
  ASSERT_THAT(std::move(transaction).Commit(), IsOk());
  EXPECT_THAT(Problems(), ElementsAre(HasSubstr("entries 0 to 1023 were changed or reordered")));
}

TEST_F(LogCheckTest, NothingIsAddedToALogWhoseEndIsMissing) {
  Tamper("DELETE FROM log_entries WHERE place = 699");
  EXPECT_THAT(store_->RequestStop(kRun, "enough"), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(LogCheckTest, SaysThatAReleaseIsNotToldOf) {
  Tamper(
      "INSERT INTO releases SELECT run_id, round + 1, attempt, contributions, example_count, "
      "training_loss, adapter, 0, started_at_ms, ended_at_ms, burnt FROM releases");
  EXPECT_THAT(Problems(), ElementsAre("the audit log does not tell of round 2 of run-0001, which "
                                      "the database has"));
}

TEST_F(LogCheckTest, SaysThatAReleaseIsAnotherOne) {
  Tamper("UPDATE releases SET adapter = zeroblob(32)");
  EXPECT_THAT(Problems(), ElementsAre("round 1 of run-0001 has made another adapter than the "
                                      "audit log says"));
}

TEST_F(LogCheckTest, SaysThatAReleaseIsGone) {
  Tamper("DELETE FROM releases");
  EXPECT_THAT(Problems(), ElementsAre("the audit log tells of round 1 of run-0001, which the "
                                      "database does not have"));
}

TEST_F(LogCheckTest, NamesAHashThatIsMissingOrAnotherOne) {
  Tamper("DELETE FROM log_subtrees WHERE place = 0");
  Tamper("UPDATE log_subtrees SET hash = zeroblob(32) WHERE place = 1");
  EXPECT_THAT(Problems(), ElementsAre("the audit log lacks the hash of its entries 0 to 255",
                                      "the audit log's entries 256 to 511 were changed or "
                                      "reordered: their hash is another one"));
}

TEST_F(LogCheckTest, SaysWhatIsNoEntry) {
  Tamper("INSERT INTO log_entries VALUES (-5, zeroblob(32), NULL, x'00')");
  EXPECT_THAT(Problems(), ElementsAre("the audit log has an entry -5, before the first one"));
}

TEST_F(LogCheckTest, IsAPartOfTheCheckOfAStateDirectory) {
  const auto whole = CheckState(directory_.path());
  ASSERT_THAT(whole, IsOk());
  EXPECT_THAT(whole->problems, IsEmpty());
  EXPECT_EQ(whole->log_entries, 700);
  Tamper("DELETE FROM log_entries WHERE place = 5");
  EXPECT_THAT(CheckState(directory_.path())->problems,
              ElementsAre(HasSubstr("entry 5 of the audit log is missing")));
}

TEST_F(LogCheckTest, WalksNotFarToAPlaceThatWasChanged) {
  Tamper("UPDATE log_entries SET place = 9000000000000000000 WHERE place = 697");
  EXPECT_THAT(Problems(), ::testing::Contains("entry 697 of the audit log is missing"));
  EXPECT_THAT(Problems(), ::testing::Contains("entries 700 to 8999999999999999999 of the audit "
                                              "log are missing"));
}

TEST_F(LogCheckTest, CanBeGivenUp) {
  Tamper("UPDATE log_entries SET place = 1023 WHERE place = 699");
  EXPECT_THAT(
      ProblemsOfLog(state_->connection, [](double) { return absl::CancelledError("enough"); }),
      HasCode(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace fedtune
