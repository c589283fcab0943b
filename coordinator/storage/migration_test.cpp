// SPDX-License-Identifier: Apache-2.0

// testdata/schema_N.sql is a database of each older schema, as sqlite3's .dump writes it.

#include <filesystem>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "coordinator/storage/audit_log.h"
#include "coordinator/storage/backup.h"
#include "coordinator/storage/backup_schedule.h"
#include "coordinator/storage/kept_backups.h"
#include "coordinator/storage/sqlite_federation_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/audit/log_entry.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using std::filesystem::path;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::SizeIs;
using testing::TemporaryDirectory;

const absl::Time kNow = absl::FromUnixSeconds(1'795'000'000);

class MigrationTest : public ::testing::TestWithParam<int64_t> {
 protected:
  path State() const { return directory_.path() / "state"; }
  path Database() const { return State() / kDatabaseName; }
  path Folder() const { return directory_.path() / "backups"; }

  // As the older program left it: without checksums.
  void MakeOld() const {
    ASSERT_THAT(MakeDirectories(State()), IsOk());
    const auto dump =
        ReadFile(fmt::format("coordinator/storage/testdata/schema_{}.sql", GetParam()));
    ASSERT_THAT(dump, IsOk()) << "every older schema has a dump";
    auto database = SqliteDatabase::Open(Database());
    ASSERT_THAT(database, IsOk());
    ASSERT_THAT(database->Execute(*dump), IsOk());
    ASSERT_EQ(*database->SchemaVersion(), GetParam());
  }

  void ExpectData(const std::shared_ptr<StateDatabase>& state) const {
    const auto runs = *SqliteRunStore::Open(state, {.blobs = State() / kBlobsName});
    const RunRecord done = *runs->Get({"run-0001"});
    EXPECT_EQ(done.state, RunState::kFinished);
    EXPECT_EQ(done.reason, "all rounds are done");
    EXPECT_EQ(done.plan_toml, "name = \"icd10\"\n");
    EXPECT_EQ(done.layout_json, "{\"layout\": 1}");
    EXPECT_EQ(done.base_model_json, "{\"model\": 1}");
    EXPECT_EQ(runs->Get({"run-0002"})->layout_json, "{\"layout\": 2}");
    EXPECT_EQ(done.started_at, absl::FromUnixMillis(1'800'000'000'123));
    EXPECT_EQ(done.rounds_done, 2);
    EXPECT_EQ(done.adapter, Sha256Of("adapter of round 1"));
    EXPECT_EQ(done.traffic, (Traffic{.bytes_received = 1234, .bytes_sent = 5678}));
    EXPECT_EQ(runs->FindByRequest("request-2")->value().optimizer_state,
              Sha256Of("optimizer state"));
    EXPECT_THAT(*runs->Releases({"run-0001"}), SizeIs(2));
    EXPECT_EQ(runs->Releases({"run-0001"})->at(0).summary.evaluation->accuracy, 0.25);
    EXPECT_THAT(*runs->Evaluations({"run-0001"}), SizeIs(2));
    const std::vector<ClientView> clients = *runs->Clients({"run-0001"});
    ASSERT_THAT(clients, SizeIs(2));
    EXPECT_EQ(clients[0].rounds_contributed, 1);
    EXPECT_EQ(clients[1].reason, "too large");
    for (const std::string text :
         {"initial adapter", "adapter of round 0", "adapter of round 1", "optimizer state"}) {
      EXPECT_EQ(runs->GetBlob(Sha256Of(text))->size(), text.size());
    }
    const SqliteFederationStore federation(state);
    EXPECT_EQ(federation.Clients()->at(0).device_name, "Xeon");
    EXPECT_EQ(federation.FindModel("tiny")->value().base_model_json, "{\"model\": 1}");
    ExpectOpenRound(*runs);
    ExpectLog(state, *runs->Get({"run-0002"}));
    EXPECT_EQ(runs->Get({"run-0002"})->pause, std::nullopt);
    EXPECT_EQ(runs->Get({"run-0002"})->stop, std::nullopt);
    if (GetParam() >= 4) {
      EXPECT_THAT(runs->Releases({"run-0001"})->at(1).summary.routed.counts, ElementsAre(7, 3));
    }
  }

  // Since schema 2 the open round has a journal; before, that it was open was not said.
  static void ExpectOpenRound(const RunStore& runs) {
    EXPECT_EQ(runs.Get({"run-0002"})->attempts_opened, GetParam() < 2 ? 1 : 2);
    const std::vector<std::string> journal = *runs.Journal({"run-0002"});
    if (GetParam() < 2) {
      EXPECT_THAT(journal, IsEmpty());
    } else {
      EXPECT_THAT(journal, ElementsAre("an entry"));
    }
  }

  // With the run that is under way and its open round, so that its clients can go on.
  static void ExpectLog(const std::shared_ptr<StateDatabase>& state, const RunRecord& run) {
    std::vector<LogEvent> events;
    const auto stored = AuditLog(state).Entries(0, 3, 1 << 20);
    for (const std::string& entry : *stored) {
      events.push_back(ParseLogEntry(entry)->event);
    }
    ASSERT_THAT(events, SizeIs(3));
    EXPECT_TRUE(std::holds_alternative<LogBegun>(events[0]));
    EXPECT_EQ(events[1], LogEvent(RunStarted{.run = "run-0002",
                                             .plan = Sha256Of(run.plan_toml),
                                             .layout = Sha256Of("{\"layout\": 2}"),
                                             .base_digest = run.base_digest,
                                             .adapter = Sha256Of("initial adapter"),
                                             .started_by = "ada"}));
    EXPECT_EQ(events[2], LogEvent(RoundOpened{.run = "run-0002",
                                              .round = 1,
                                              .attempt = run.attempts_opened,
                                              .adapter = Sha256Of("adapter of round 0")}));
    EXPECT_EQ(AuditLog(state).Head()->size, 3);
  }

  const TemporaryDirectory directory_;
};

TEST_P(MigrationTest, KeepsAllThatWasThere) {
  MakeOld();
  {
    const auto state = OpenStateDatabase(Database());
    ASSERT_THAT(state, IsOk()) << state.status();
    ExpectData(*state);
  }
  const auto report = CheckState(State());
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(report->problems, IsEmpty());
  EXPECT_EQ(report->schema, NewestSchema());
}

// Back again is by way of the backup: steps have no reverse.
TEST_P(MigrationTest, TheBackupBeforeItIsWhatTheOlderProgramHad) {
  MakeOld();
  const auto backup = BackUpBeforeUpgrade(State(), Folder(), kNow);
  ASSERT_THAT(backup, IsOk()) << backup.status();
  ASSERT_TRUE(backup->has_value());
  EXPECT_EQ((*backup)->filename(),
            fmt::format("{}-before-schema-{}", BackupName(kNow), NewestSchema()));
  ASSERT_THAT(OpenStateDatabase(Database()), IsOk());
  EXPECT_EQ(*BackUpBeforeUpgrade(State(), Folder(), kNow), std::nullopt);

  std::filesystem::remove_all(State());
  ASSERT_THAT(Restore(**backup, State()), IsOk());
  {
    // With what the older program opened it.
    auto old = SqliteDatabase::Open(Database());
    EXPECT_EQ(*old->SchemaVersion(), GetParam());
    EXPECT_THAT(*old->Problems(), IsEmpty());
    EXPECT_THAT(old->Prepare("SELECT size FROM log_head"), HasCode(absl::StatusCode::kInternal));
  }
  const auto again = OpenStateDatabase(Database());
  ASSERT_THAT(again, IsOk());
  ExpectData(*again);
}

// An upgrade that is cut off, and begun anew by the supervisor, fills no disk with backups.
TEST_P(MigrationTest, ABackupOfWhatIsThereStandsForAnotherOne) {
  MakeOld();
  ASSERT_TRUE(BackUpBeforeUpgrade(State(), Folder(), kNow)->has_value());
  const auto again = BackUpBeforeUpgrade(State(), Folder(), kNow + absl::Minutes(1));
  ASSERT_THAT(again, IsOk());
  EXPECT_EQ(again->has_value(), GetParam() < 3);  // Before that nothing says who wrote last.
}

TEST_P(MigrationTest, ABackupOfBeforeAnOlderProgramRanOnStandsForNone) {
  MakeOld();
  ASSERT_TRUE(BackUpBeforeUpgrade(State(), Folder(), kNow)->has_value());
  if (GetParam() >= 3) {
    auto older = SqliteDatabase::Open(Database());
    ASSERT_THAT(older->Execute("INSERT INTO writer VALUES (1, 1, 4711, 'hub', 0) "
                               "ON CONFLICT DO UPDATE SET epoch = epoch + 1"),
                IsOk());
  }
  EXPECT_TRUE(BackUpBeforeUpgrade(State(), Folder(), kNow + absl::Minutes(1))->has_value());
}

// As when a backup was restored from which epochs are counted on once more.
TEST_P(MigrationTest, ABackupOfAnotherPastWithTheSameEpochStandsForNone) {
  if (GetParam() < 3) GTEST_SKIP() << "nothing says who wrote last";
  MakeOld();
  for (const int64_t since_ms : {1000, 2000}) {
    ASSERT_THAT(
        SqliteDatabase::Open(Database())
            ->Execute(fmt::format("REPLACE INTO writer VALUES (1, 7, 4711, 'hub', {})", since_ms)),
        IsOk());
    const absl::Time now = kNow + absl::Milliseconds(since_ms);
    EXPECT_TRUE(BackUpBeforeUpgrade(State(), Folder(), now)->has_value());
  }
}

TEST_P(MigrationTest, ADamagedBackupStandsForNone) {
  MakeOld();
  const auto made = *BackUpBeforeUpgrade(State(), Folder(), kNow);
  ASSERT_TRUE(made.has_value());
  std::filesystem::resize_file(*made / kDatabaseName, 4096);
  EXPECT_TRUE(BackUpBeforeUpgrade(State(), Folder(), kNow + absl::Minutes(1))->has_value());
}

INSTANTIATE_TEST_SUITE_P(EveryOlderSchema, MigrationTest,
                         ::testing::Range(int64_t{1}, NewestSchema()));

TEST(NewerSchemaTest, IsRefusedAndLeftAsItIs) {
  const TemporaryDirectory directory;
  const path database = directory.path() / kDatabaseName;
  {
    const auto state = OpenStateDatabase(database);
    ASSERT_THAT(
        (*state)->connection.Execute(fmt::format("PRAGMA user_version = {}", NewestSchema() + 1)),
        IsOk());
  }
  const std::string before = *ReadFile(database);
  const auto refused = OpenStateDatabase(database);
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(Message(refused.status())), HasSubstr("newer version of this program"));
  EXPECT_THAT(std::string(Message(refused.status())), HasSubstr("backup made before the upgrade"));
  EXPECT_THAT(CheckState(directory.path()), HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_EQ(*ReadFile(database), before);
  EXPECT_EQ(*BackUpBeforeUpgrade(directory.path(), directory.path() / "b", kNow), std::nullopt);
}

}  // namespace
}  // namespace fedtune
