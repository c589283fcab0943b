// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/state_database.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "coordinator/storage/sqlite_federation_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::TemporaryDirectory;

// Runs and clients in one database, which a test can make small.
class StateDatabaseTest : public ::testing::Test {
 protected:
  std::filesystem::path Path() const { return directory_.path() / "fedtune.sqlite"; }

  // Pages of 4 KiB beyond those there are.
  void AllowPages(int64_t more) {
    SqliteStatement count = *state_->connection.Prepare("PRAGMA page_count");
    ASSERT_THAT(count.Step(), IsOk());
    SetMaxPages(count.Int64(0) + more);
  }
  void SetMaxPages(int64_t pages) {
    ASSERT_THAT(state_->connection.Execute(fmt::format("PRAGMA max_page_count = {}", pages)),
                IsOk());
  }

  static ClientRecord Client(const std::string& name) {
    ClientRecord client;
    client.institution = {name};
    client.last_seen = client.certificate_expires = absl::UnixEpoch();
    return client;
  }

  RunRecord NewRun() const {
    RunRecord run;
    run.id = {"run-0001"};
    run.started_at = absl::UnixEpoch();
    run.initial_adapter = run.adapter = Sha256Of("initial");
    return run;
  }

  absl::Status SaveRelease() {
    NewRelease release;
    release.record.started_at = release.record.ended_at = absl::UnixEpoch();
    release.record.adapter = Sha256Of(adapter_);
    release.adapter = std::as_bytes(std::span(adapter_));
    return runs_->SaveRelease({"run-0001"}, release);
  }

  const TemporaryDirectory directory_;
  std::vector<absl::Status> ends_;
  const std::shared_ptr<StateDatabase> state_ =
      *OpenStateDatabase(Path(), [this](const absl::Status& why) { ends_.push_back(why); });
  const std::unique_ptr<RunStore> runs_ =
      *SqliteRunStore::Open(state_, {.blobs = directory_.path() / "blobs"});
  SqliteFederationStore clients_{state_};
  const std::string adapter_ = std::string(size_t{200} << 10, '.');
};

TEST_F(StateDatabaseTest, NoWriterIsTurnedAwayHoweverManyThereAre) {
  std::vector<std::jthread> eager;
  for (int i = 0; i < 8; ++i) {
    eager.emplace_back([this, i](std::stop_token stop) {
      while (!stop.stop_requested()) {
        EXPECT_THAT(clients_.SaveClients({Client(fmt::format("client {}", i))}), IsOk());
      }
    });
  }
  for (int i = 0; i < 20; ++i) EXPECT_THAT(runs_->AppendToJournal({"run-0001"}, {}), IsOk());
}

TEST_F(StateDatabaseTest, AFullDiskIsSaidAndTheReleaseIsStoredWhenThereIsSpaceAgain) {
  ASSERT_THAT(runs_->Insert(NewRun(), {}, {}), IsOk());
  AllowPages(10);
  const absl::Status full = SaveRelease();
  EXPECT_THAT(full, HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(std::string(full.message()), HasSubstr("free some space"));
  EXPECT_EQ(runs_->Get({"run-0001"})->rounds_done, 0);
  AllowPages(10'000);
  EXPECT_THAT(SaveRelease(), IsOk());
  EXPECT_EQ(runs_->Get({"run-0001"})->rounds_done, 1);
}

// It would be in the way of a database that knows no run yet: see CheckHasNotLostItsDatabase().
TEST_F(StateDatabaseTest, ARunThatCannotBeInsertedLeavesNoFile) {
  const std::string large(size_t{1} << 20, '.');
  RunRecord run = NewRun();
  run.initial_adapter = run.adapter = Sha256Of(large);
  AllowPages(0);
  run.plan_toml = std::string(size_t{100} << 10, '#');
  EXPECT_THAT(runs_->Insert(run, {}, std::as_bytes(std::span(large))),
              HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path() / "blobs"));
  AllowPages(10'000);
  ASSERT_THAT(runs_->Insert(run, {}, std::as_bytes(std::span(large))), IsOk());
  EXPECT_THAT(runs_->Insert(run, {}, std::as_bytes(std::span(large))),
              HasCode(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(runs_->GetBlob(run.adapter), IsOk());
}

// As one is that was written before routed tokens were counted.
TEST_F(StateDatabaseTest, ARunWithoutRoutedTokensIsReadAndGoesOnWithThem) {
  ASSERT_THAT(runs_->Insert(NewRun(), {}, {}), IsOk());
  ASSERT_THAT(SaveRelease(), IsOk());
  for (const char* change :
       {"DROP TABLE log_entries", "DROP TABLE log_subtrees", "DROP TABLE log_head",
        "DROP TABLE routing", "DROP TABLE run_texts",
        "ALTER TABLE runs ADD COLUMN layout_json TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE runs ADD COLUMN base_model_json TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE runs DROP COLUMN pause", "ALTER TABLE runs DROP COLUMN stop",
        "ALTER TABLE releases DROP COLUMN burnt", "PRAGMA user_version = 3"}) {
    ASSERT_THAT(state_->connection.Execute(change), IsOk());
  }

  const auto state = OpenStateDatabase(directory_.path() / "fedtune.sqlite");
  ASSERT_THAT(state, IsOk()) << state.status();
  const auto runs = SqliteRunStore::Open(*state, {.blobs = directory_.path() / "blobs"});
  ASSERT_THAT(runs, IsOk());
  EXPECT_EQ((*runs)->Releases({"run-0001"})->at(0).summary.routed, RoutedTokens());
  NewRelease release;
  release.record.summary.round = 1;
  release.record.summary.routed = {.experts = 2, .counts = {3, 4}};
  release.record.started_at = release.record.ended_at = absl::UnixEpoch();
  ASSERT_THAT((*runs)->SaveRelease({"run-0001"}, release), IsOk());
  EXPECT_EQ((*runs)->Releases({"run-0001"})->at(1).summary.routed, release.record.summary.routed);
}

TEST_F(StateDatabaseTest, CountsOfTokensThatAreNoneAreSaidToBe) {
  ASSERT_THAT(runs_->Insert(NewRun(), {}, {}), IsOk());
  ASSERT_THAT(SaveRelease(), IsOk());
  for (const char* values : {"3, X'0000000000000000'", "0, X''", "1, X'00'"}) {
    ASSERT_THAT(state_->connection.Execute(fmt::format(
                    "INSERT OR REPLACE INTO routing VALUES ('run-0001', 0, {})", values)),
                IsOk());
    EXPECT_THAT(runs_->Releases({"run-0001"}), HasCode(absl::StatusCode::kInternal));
  }
}

// A second coordinator on the same files, though the lock did not keep it out.
TEST_F(StateDatabaseTest, AWriterThatWasReplacedCanWriteNothing) {
  ASSERT_THAT(runs_->Insert(NewRun(), {}, {}), IsOk());
  const auto second = OpenStateDatabase(Path());
  ASSERT_THAT(second, IsOk());
  const absl::Status refused = SaveRelease();
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(
      std::string(refused.message()),
      HasSubstr(fmt::format("another coordinator has taken over {}: process", Path().string())));
  EXPECT_THAT(runs_->OpenJournal({"run-0001"}, 2, "opened"),
              HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(clients_.SaveClients({Client("a")}), HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(clients_.SaveModel({}), HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(runs_->End({"run-0001"}, {}), HasCode(absl::StatusCode::kUnavailable));
  ASSERT_THAT(ends_, ::testing::SizeIs(1));
  EXPECT_EQ(ends_[0], refused);

  SqliteFederationStore clients(*second);
  EXPECT_THAT(clients.SaveClients({Client("b")}), IsOk());
  const auto kept = SqliteRunStore::Open(*second, {.blobs = directory_.path() / "blobs"});
  EXPECT_EQ((*kept)->Get({"run-0001"})->rounds_done, 0);
  EXPECT_EQ((*kept)->Get({"run-0001"})->state, RunState::kInviting);
}

// The directory was moved away, and a copy of it stands in its place.
TEST_F(StateDatabaseTest, AWriterWhoseFilesWereReplacedCanWriteNothing) {
  ASSERT_THAT(runs_->Insert(NewRun(), {}, {}), IsOk());
  const auto elsewhere = directory_.path() / "elsewhere.sqlite";
  std::filesystem::rename(Path(), elsewhere);
  std::filesystem::copy_file(elsewhere, Path());
  const absl::Status refused = SaveRelease();
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("was moved, removed or replaced"));
  EXPECT_THAT(ends_, ::testing::SizeIs(1));
}

// As far as the store can tell from a file that cannot be written.
TEST_F(StateDatabaseTest, ADiskThatFailsABlobEndsTheStore) {
  ASSERT_THAT(runs_->Insert(NewRun(), {}, {}), IsOk());
  std::filesystem::remove_all(directory_.path() / "blobs");
  std::ofstream(directory_.path() / "blobs") << "no folder";
  const std::string large(size_t{5} << 20, '.');
  NewRelease release;
  release.record.adapter = Sha256Of(large);
  release.adapter = std::as_bytes(std::span(large));
  EXPECT_THAT(runs_->SaveRelease({"run-0001"}, release), HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(ends_, ::testing::SizeIs(1));
  EXPECT_THAT(runs_->List(), HasCode(absl::StatusCode::kUnavailable));
}

TEST_F(StateDatabaseTest, EachWriterHasAHigherEpoch) {
  const auto epoch = [](StateDatabase& state) {
    SqliteStatement row = *state.connection.Prepare("SELECT epoch FROM writer");
    EXPECT_THAT(row.Step(), IsOk());
    return row.Int64(0);
  };
  EXPECT_EQ(epoch(*state_), 1);
  EXPECT_EQ(epoch(**OpenStateDatabase(Path())), 2);
  EXPECT_EQ(epoch(**OpenStateDatabase(Path())), 3);
}

// Whoever adds a write need not think of the guard.
TEST_F(StateDatabaseTest, NothingIsWrittenOutsideATransaction) {
  SqliteStatement alone = *state_->connection.Prepare("DELETE FROM clients RETURNING institution");
  EXPECT_THAT(alone.Step(), HasCode(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace fedtune
