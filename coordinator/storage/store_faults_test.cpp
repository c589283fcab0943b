// SPDX-License-Identifier: Apache-2.0

// The store on a disk that fails at each of its writes in turn: what was acknowledged is
// there afterwards, and what was not is there wholly or not at all.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "coordinator/storage/backup.h"
#include "coordinator/storage/sqlite_federation_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using std::filesystem::path;
using ::testing::AnyOf;
using testing::FakeClock;
using testing::FaultVfs;
using testing::HasCode;
using testing::IsOk;
using testing::TemporaryDirectory;
using Fault = FaultVfs::Fault;
using Survivors = FaultVfs::Survivors;

FaultVfs& Disk() { return FaultVfs::Install(); }

const absl::Time kNow = absl::FromUnixSeconds(1'795'000'000);
const RunId kRun{"run-0001"};

// Of the calls that fail in turn; a sanitizer sees the same code in a third of them.
#ifdef FEDTUNE_UNDER_SANITIZER
constexpr int64_t kStride = 3;
#else
constexpr int64_t kStride = 1;
#endif

// A coordinator's store, opened and closed as processes come and go.
class Store {
 public:
  explicit Store(path directory) : directory_(std::move(directory)) {}

  absl::Status Open() {
    ended_.clear();
    ASSIGN_OR_RETURN(state_,
                     OpenStateDatabase(directory_ / kDatabaseName,
                                       [this](const absl::Status& why) { ended_.push_back(why); }));
    ASSIGN_OR_RETURN(runs_, SqliteRunStore::Open(state_, {.blobs = directory_ / kBlobsName,
                                                          .keep_adapters = 1,
                                                          .clock = &clock_,
                                                          .log_id = "11aa"}));
    return absl::OkStatus();
  }

  void Close() {
    runs_.reset();
    state_.reset();
  }

  RunStore& runs() { return *runs_; }
  const std::shared_ptr<StateDatabase>& state() { return state_; }
  const std::vector<absl::Status>& ended() const { return ended_; }

  // Everything that is stored, but for who may write.
  std::string Content() {
    std::string content;
    for (const std::string& table : Column("SELECT name FROM sqlite_schema WHERE type = 'table' "
                                           "AND name != 'writer' ORDER BY name")) {
      const std::string columns = Column(fmt::format("SELECT group_concat('quote(' || name || ')', "
                                                     "'||'',''||') FROM pragma_table_info('{}')",
                                                     table))
                                      .at(0);
      content += table + "\n";
      for (const std::string& row :
           Column(fmt::format("SELECT {0} AS r FROM {1} ORDER BY r", columns, table))) {
        content += row + "\n";
      }
    }
    return content;
  }

 private:
  std::vector<std::string> Column(const std::string& sql) {
    std::vector<std::string> found;
    auto rows = state_->connection.Prepare(sql);
    EXPECT_THAT(rows, IsOk()) << sql;
    for (auto more = rows->Step(); more.ok() && *more; more = rows->Step()) {
      found.push_back(rows->Text(0));
    }
    return found;
  }

  const path directory_;
  const FakeClock clock_ = {};
  std::shared_ptr<StateDatabase> state_;
  std::unique_ptr<RunStore> runs_;
  std::vector<absl::Status> ended_;
};

absl::Status InsertWith(Store& store, const std::string& text) {
  const std::string adapter(6000, 'i');
  RunRecord run;
  run.id = kRun;
  run.layout_json = run.base_model_json = text;
  run.started_at = kNow;
  run.initial_adapter = run.adapter = Sha256Of(adapter);
  return store.runs().Insert(run, {}, std::as_bytes(std::span(adapter)));
}

absl::Status Insert(Store& store) { return InsertWith(store, ""); }

absl::Status Release(Store& store, int64_t round) {
  const std::string adapter(9000, static_cast<char>('a' + round));
  const std::string optimizer(5000, static_cast<char>('A' + round));
  NewRelease release;
  release.record.summary.round = round;
  release.record.started_at = release.record.ended_at = kNow;
  release.record.adapter = Sha256Of(adapter);
  release.adapter = std::as_bytes(std::span(adapter));
  release.optimizer_state = std::as_bytes(std::span(optimizer));
  for (const char* name : {"ada", "bea", "cleo"}) {
    release.contributions.push_back({.institution = {name}, .sha256 = {}, .metrics = {}});
  }
  return store.runs().SaveRelease(kRun, release);
}

absl::Status SaveClients(Store& store) {
  std::vector<ClientView> clients(3);
  for (size_t i = 0; i < clients.size(); ++i) clients[i].institution = {fmt::format("c{}", i)};
  return store.runs().SaveClients(kRun, clients);
}

absl::Status SaveModel(Store& store) {
  return SqliteFederationStore(store.state())
      .SaveModel({.name = "tiny", .digest = "", .base_model_json = "", .added = kNow});
}

absl::Status Checkpoint(Store& store) {
  return store.state()->connection.Execute("PRAGMA wal_checkpoint(PASSIVE)");
}

// What a coordinator writes in the life of a run.
const std::vector<std::function<absl::Status(Store&)>> kSteps = {
    Insert,
    SaveClients,
    SaveModel,
    [](Store& store) { return store.runs().OpenJournal(kRun, 1, "opened"); },
    [](Store& store) {
      return store.runs().AppendToJournal(kRun, {"one", "two"});
    },
    [](Store& store) { return Release(store, 0); },
    Checkpoint,
    [](Store& store) { return Release(store, 1); },
    [](Store& store) { return store.runs().End(kRun, {}); },
    Checkpoint,
};

class StoreFaultsTest : public ::testing::Test {
 protected:
  StoreFaultsTest() {
    Disk().Heal();
    // What is stored after each of the steps when nothing fails, and how many writes
    // there are in all.
    Store store(Fresh());
    EXPECT_THAT(store.Open(), IsOk());
    Disk().Arm(Fault::kNone, 0);
    contents_.push_back(store.Content());
    for (const auto& step : kSteps) {
      EXPECT_THAT(step(store), IsOk());
      contents_.push_back(store.Content());
    }
    writes_ = Disk().writes();
    EXPECT_GT(writes_, 50);
  }

  path Fresh() {
    path made = directory_.path() / std::to_string(++stores_);
    std::filesystem::create_directory(made);
    return made;
  }

  // Does the steps until one fails; how many were acknowledged.
  static size_t Work(Store& store, absl::Status& failed) {
    for (size_t done = 0; done < kSteps.size(); ++done) {
      failed = kSteps[done](store);
      if (!failed.ok()) return done;
    }
    return kSteps.size();
  }

  // A process that ends at write `k`, and what the next one finds.
  void ExpectOldOrNew(Fault fault, int64_t k, Survivors survivors) {
    SCOPED_TRACE(fmt::format("write {} of {}", k, writes_));
    const path directory = Fresh();
    Store store(directory);
    ASSERT_THAT(store.Open(), IsOk());
    Disk().Arm(fault, k);
    absl::Status failed;
    const size_t done = Work(store, failed);
    ASSERT_TRUE(Disk().struck());
    store.Close();
    Disk().Heal();
    Disk().CutPower(survivors);
    ASSERT_THAT(store.Open(), IsOk());
    EXPECT_THAT(store.Content(),
                AnyOf(contents_[done], contents_[std::min(done + 1, kSteps.size())]));
    const auto report = CheckState(directory);
    ASSERT_THAT(report, IsOk());
    EXPECT_THAT(report->problems, ::testing::IsEmpty());
    store.Close();
    std::filesystem::remove_all(directory);
  }

  const TemporaryDirectory directory_;
  int stores_ = 0;
  std::vector<std::string> contents_;
  int64_t writes_ = 0;
};

TEST_F(StoreFaultsTest, AKilledProcessLeavesTheOldStateOrTheNew) {
  for (int64_t k = 0; k < writes_; k += kStride) ExpectOldOrNew(Fault::kCrash, k, Survivors::kAll);
}

TEST_F(StoreFaultsTest, APowerCutLeavesTheOldStateOrTheNew) {
  for (int64_t k = 0; k < writes_; k += kStride) {
    ExpectOldOrNew(Fault::kCrash, k, Survivors::kNone);
    ExpectOldOrNew(Fault::kCrash, k, Survivors::kEveryOther);
  }
}

TEST_F(StoreFaultsTest, ATornWriteLeavesTheOldStateOrTheNew) {
  for (int64_t k = 0; k < writes_; k += kStride) {
    ExpectOldOrNew(Fault::kTornCrash, k, Survivors::kAll);
    ExpectOldOrNew(Fault::kTornCrash, k, Survivors::kEveryOther);
  }
}

// A disk that forgets what it said it had: later steps may be lost, never parts of one.
TEST_F(StoreFaultsTest, ALostSyncLosesWholeSteps) {
  for (int64_t k = 0; k < writes_; k += kStride) {
    SCOPED_TRACE(k);
    const path directory = Fresh();
    Store store(directory);
    ASSERT_THAT(store.Open(), IsOk());
    Disk().Arm(Fault::kLostSync, k);
    for (const auto& step : kSteps) {
      ASSERT_THAT(step(store), IsOk());
      if (Disk().struck()) break;
    }
    // The process dies with the disk.
    Disk().Arm(Fault::kCrash, 0);
    store.Close();
    Disk().Heal();
    Disk().CutPower(Survivors::kNone);
    ASSERT_THAT(store.Open(), IsOk());
    EXPECT_THAT(contents_, ::testing::Contains(store.Content()));
    std::filesystem::remove_all(directory);
  }
}

// From the first schema, without checksums, to the newest one with them.
TEST_F(StoreFaultsTest, AnUpgradeThatIsCutOffIsDoneAgain) {
  std::string expected;
  bool cut_off = true;
  for (int64_t k = -1; cut_off; ++k) {
    SCOPED_TRACE(k);
    const path directory = Fresh();
    {
      auto old = SqliteDatabase::Open(directory / kDatabaseName);
      ASSERT_THAT(old->Execute(*ReadFile("coordinator/storage/testdata/schema_1.sql")), IsOk());
    }
    Store store(directory);
    if (k >= 0) {
      Disk().Arm(Fault::kCrash, k);
      const absl::Status opened = store.Open();
      cut_off = Disk().struck();
      EXPECT_NE(opened.ok(), cut_off) << opened;
      store.Close();
      Disk().Heal();
      Disk().CutPower(Survivors::kNone);
    }
    ASSERT_THAT(store.Open(), IsOk());
    if (k < 0) expected = store.Content();
    EXPECT_EQ(store.Content(), expected);
    EXPECT_EQ(*store.state()->connection.SchemaVersion(), NewestSchema());
    std::filesystem::remove_all(directory);
  }
}

TEST_F(StoreFaultsTest, AfterAnIoErrorTheConnectionIsNotUsedAgain) {
  for (int64_t k = 0; k < writes_; k += kStride) {
    SCOPED_TRACE(fmt::format("write {} of {}", k, writes_));
    const path directory = Fresh();
    Store store(directory);
    ASSERT_THAT(store.Open(), IsOk());
    Disk().Arm(Fault::kIoError, k);
    absl::Status failed;
    const size_t done = Work(store, failed);
    ASSERT_TRUE(Disk().struck());
    EXPECT_THAT(failed, HasCode(absl::StatusCode::kUnavailable));
    EXPECT_EQ(store.ended().size(), 1);
    // The disk works again: nobody asks it.
    const int64_t writes = Disk().writes();
    const int64_t calls = Disk().calls_since();
    EXPECT_THAT(kSteps[done](store), HasCode(absl::StatusCode::kUnavailable));
    EXPECT_THAT(store.runs().List(), HasCode(absl::StatusCode::kUnavailable));
    EXPECT_EQ(Disk().calls_since(), calls);
    store.Close();
    EXPECT_EQ(Disk().writes(), writes);
    Disk().Heal();
    Disk().CutPower(Survivors::kNone);
    ASSERT_THAT(store.Open(), IsOk());
    EXPECT_THAT(store.Content(),
                AnyOf(contents_[done], contents_[std::min(done + 1, kSteps.size())]));
    std::filesystem::remove_all(directory);
  }
}

// SQLite moves its log into the database behind a commit, and tells nobody when that
// fails: the store must not go on.
TEST_F(StoreFaultsTest, AfterAnIoErrorBehindACommitTheConnectionIsNotUsedAgain) {
  for (int64_t k = 0; k < writes_; k += kStride) {
    SCOPED_TRACE(k);
    const path directory = Fresh();
    Store store(directory);
    ASSERT_THAT(store.Open(), IsOk());
    store.state()->connection.CheckpointEvery(1);
    Disk().Arm(Fault::kIoError, k);
    size_t done = 0;
    while (done < kSteps.size() && store.ended().empty()) {
      if (!kSteps[done](store).ok()) break;
      ++done;
    }
    ASSERT_TRUE(Disk().struck());
    EXPECT_EQ(store.ended().size(), 1);
    EXPECT_THAT(store.runs().List(), HasCode(absl::StatusCode::kUnavailable));
    store.Close();
    Disk().Heal();
    Disk().CutPower(Survivors::kNone);
    ASSERT_THAT(store.Open(), IsOk());
    EXPECT_THAT(store.Content(),
                AnyOf(contents_[done], contents_[std::min(done + 1, kSteps.size())]));
    std::filesystem::remove_all(directory);
  }
}

TEST_F(StoreFaultsTest, AFullDiskIsSaidAndWorkGoesOnWhenThereIsSpace) {
  for (int64_t k = 0; k < writes_; k += kStride) {
    SCOPED_TRACE(fmt::format("write {} of {}", k, writes_));
    const path directory = Fresh();
    Store store(directory);
    ASSERT_THAT(store.Open(), IsOk());
    Disk().Arm(Fault::kFull, k);
    absl::Status failed;
    const size_t done = Work(store, failed);
    if (done < kSteps.size()) {
      EXPECT_THAT(failed, HasCode(absl::StatusCode::kResourceExhausted));
      EXPECT_EQ(store.Content(), contents_[done]);
    }
    EXPECT_THAT(store.ended(), ::testing::IsEmpty());
    Disk().Heal();
    for (size_t step = done; step < kSteps.size(); ++step) {
      ASSERT_THAT(kSteps[step](store), IsOk());
      EXPECT_EQ(store.Content(), contents_[step + 1]);
    }
    store.Close();
    std::filesystem::remove_all(directory);
  }
}

// Of a large model a run has megabytes of text that lists and releases do without.
TEST(LargeTextsTest, AreNeitherReadToListRunsNorWrittenWithARelease) {
  Disk().Heal();
  const TemporaryDirectory directory;
  Store store(directory.path());
  ASSERT_THAT(store.Open(), IsOk());
  ASSERT_THAT(InsertWith(store, std::string(size_t{4} << 20, ' ')), IsOk());
  store.Close();
  ASSERT_THAT(store.Open(), IsOk());
  Disk().Arm(Fault::kNone, 0);
  EXPECT_EQ(store.runs().List()->size(), 1);
  EXPECT_LT(Disk().reads(), 20);
  ASSERT_THAT(Release(store, 0), IsOk());
  EXPECT_LT(Disk().reads(), 100);
  EXPECT_LT(Disk().writes(), 100);
  EXPECT_EQ(store.runs().Get(kRun)->layout_json.size(), size_t{4} << 20);
  EXPECT_GT(Disk().reads(), 1000);
}

}  // namespace
}  // namespace fedtune
