// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/backup.h"

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "coordinator/storage/backup_schedule.h"
#include "coordinator/storage/file_owner.h"
#include "coordinator/storage/kept_backups.h"
#include "coordinator/storage/lost_database.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/read_only_mount.h"
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
using testing::ReadOnlyMount;
using ::testing::SizeIs;
using testing::TemporaryDirectory;

constexpr int64_t kPageBytes = 4096;
const absl::Time kNow = absl::FromUnixSeconds(1'795'000'000);

void FlipBit(const path& path, int64_t byte, int bit) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(byte);
  const int was = file.get();
  file.seekp(byte);
  file.put(static_cast<char>(was ^ (1 << bit)));
}

// A state directory with a run that has had two rounds: a large initial adapter, a
// small and a large later one.
class BackupTest : public ::testing::Test {
 protected:
  BackupTest() {
    EXPECT_THAT(MakeDirectories(State()), IsOk());
    Open();
    RunRecord run;
    run.id = {"run-0001"};
    run.started_at = kNow;
    run.initial_adapter = run.adapter = Sha256Of(Large('i'));
    const std::string initial = Large('i');
    EXPECT_THAT(runs_->Insert(run, {}, std::as_bytes(std::span(initial))), IsOk());
    Release(0, std::string(20'000, 's'));
    Release(1, Large('l'));
  }

  static std::string Large(char c) { return std::string(size_t{5} << 20, c); }

  void Open() {
    state_ = *OpenStateDatabase(State() / kDatabaseName);
    runs_ = *SqliteRunStore::Open(state_, {.blobs = State() / kBlobsName, .keep_adapters = 2});
  }

  void Close() {
    runs_.reset();
    state_.reset();
  }

  void Release(int64_t round, const std::string& adapter) {
    NewRelease release;
    release.record.summary.round = round;
    release.record.started_at = release.record.ended_at = kNow;
    release.record.adapter = Sha256Of(adapter);
    release.adapter = std::as_bytes(std::span(adapter));
    EXPECT_THAT(runs_->SaveRelease({"run-0001"}, release), IsOk());
  }

  void ReleaseNext() {
    Release(round_, Large(static_cast<char>('l' + round_)));
    ++round_;
  }

  path State() const { return directory_.path() / "state"; }
  path Folder() const { return directory_.path() / "backups"; }

  path BlobIn(const path& root, char c) const {
    return root / kBlobsName / Sha256Of(Large(c)).ToHex();
  }

  std::vector<std::string> ProblemsOf(const path& directory) const {
    const auto report = CheckState(directory);
    EXPECT_THAT(report, IsOk()) << report.status();
    return report.ok() ? report->problems : std::vector<std::string>{"none"};
  }

  path MakeBackup(absl::Time now = kNow) const {
    auto made = BackUp(State(), Folder(), now);
    EXPECT_THAT(made, IsOk()) << made.status();
    return made.value_or("");
  }

  const TemporaryDirectory directory_;
  std::shared_ptr<StateDatabase> state_;
  std::unique_ptr<RunStore> runs_;
  int64_t round_ = 2;  // The next one.
};

TEST_F(BackupTest, NeedsSpaceForTheWriteAheadLogToo) {
  const uint64_t log = std::filesystem::file_size(State() / (std::string(kDatabaseName) + "-wal"));
  ASSERT_GT(log, 0);
  const uint64_t with_log = SpaceForBackup(State());
  Close();
  ASSERT_FALSE(std::filesystem::exists(State() / (std::string(kDatabaseName) + "-wal")));
  EXPECT_GT(with_log, 2 * log);
  EXPECT_GT(SpaceForBackup(State()), 0);
  EXPECT_EQ(SpaceForBackup(directory_.path() / "nowhere"), 0);
}

TEST_F(BackupTest, IsKnownByItsName) {
  EXPECT_TRUE(IsBackup("/mnt/fedtune-20261126T040000Z"));
  EXPECT_TRUE(IsBackup("/mnt/fedtune-20261126T040000Z/"));
  EXPECT_TRUE(IsBackup("fedtune-20261126T040000Z-before-schema-7"));
  EXPECT_FALSE(IsBackup("/var/lib/fedtune"));
  EXPECT_FALSE(IsBackup("/mnt/fedtune-20261126T040000Z/.."));
}

TEST_F(BackupTest, NothingIsWrongWithAStoreInUse) {
  const auto report = CheckState(State());
  ASSERT_THAT(report, IsOk());
  EXPECT_THAT(report->problems, IsEmpty());
  EXPECT_EQ(report->schema, NewestSchema());
  EXPECT_EQ(report->runs, 1);
  EXPECT_EQ(report->blobs, 3);
  EXPECT_GT(report->bytes, size_t{10} << 20);
  EXPECT_EQ(2 * report->bytes, SpaceForBackup(State()));  // The write-ahead log is part of it.
}

TEST_F(BackupTest, AFlippedBitInAnyPageIsNamed) {
  Close();
  const path database = State() / kDatabaseName;
  const auto pages = static_cast<int64_t>(std::filesystem::file_size(database)) / kPageBytes;
  ASSERT_GT(pages, 10);
  for (int64_t page = 1; page <= pages; ++page) {
    const int64_t byte = (page - 1) * kPageBytes + 100 + (page * 577) % (kPageBytes - 100);
    FlipBit(database, byte, static_cast<int>(page % 8));
    EXPECT_THAT(ProblemsOf(State()),
                ElementsAre(fmt::format("page {} of {} is damaged", page, database.string())));
    FlipBit(database, byte, static_cast<int>(page % 8));
  }
  EXPECT_THAT(ProblemsOf(State()), IsEmpty());
}

TEST_F(BackupTest, AFlippedBitInAnyBlobIsNamed) {
  for (const char blob : {'i', 'l'}) {
    const path file = BlobIn(State(), blob);
    FlipBit(file, 4'000'000, 7);
    EXPECT_THAT(ProblemsOf(State()), ElementsAre(fmt::format("blob {} is damaged", file.string())));
    FlipBit(file, 4'000'000, 7);
  }
}

TEST_F(BackupTest, AMissingBlobIsNamed) {
  std::filesystem::remove(BlobIn(State(), 'i'));
  EXPECT_THAT(ProblemsOf(State()),
              ElementsAre(fmt::format("blob {} is missing", BlobIn(State(), 'i').string())));
  ASSERT_THAT(state_->connection.Run("DELETE FROM blobs WHERE content IS NOT NULL"), IsOk());
  EXPECT_THAT(ProblemsOf(State()), SizeIs(1));
}

TEST_F(BackupTest, ARowWithoutItsBlobIsNamed) {
  ASSERT_THAT(state_->connection.Run("DELETE FROM blobs WHERE content IS NOT NULL"), IsOk());
  EXPECT_THAT(ProblemsOf(State()), ElementsAre(HasSubstr("refers to a blob")));
}

TEST_F(BackupTest, ContentThatIsNotItsDigestsIsNamed) {
  ASSERT_THAT(state_->connection.Run("UPDATE blobs SET content = ? WHERE content IS NOT NULL",
                                     std::as_bytes(std::span(std::string_view("other")))),
              IsOk());
  EXPECT_THAT(ProblemsOf(State()), ElementsAre(HasSubstr("is damaged")));
}

TEST_F(BackupTest, RestoresWhatWasThere) {
  const RunRecord before = *runs_->Get({"run-0001"});
  const path backup = MakeBackup();
  EXPECT_EQ(backup.filename(), BackupName(kNow));
  EXPECT_THAT(ProblemsOf(backup), IsEmpty());
  ASSERT_THAT(runs_->End({"run-0001"}, {}), IsOk());
  Close();
  std::filesystem::remove_all(State());

  ASSERT_THAT(Restore(backup, State()), IsOk());
  EXPECT_THAT(ProblemsOf(State()), IsEmpty());
  Open();
  EXPECT_EQ(*runs_->Get({"run-0001"}), before);
  EXPECT_THAT(*runs_->Releases({"run-0001"}), SizeIs(2));
  EXPECT_EQ(runs_->GetBlob(Sha256Of(Large('l')))->size(), Large('l').size());
  EXPECT_EQ(runs_->GetBlob(Sha256Of(std::string(20'000, 's')))->size(), 20'000);
}

TEST_F(BackupTest, BackupsShareABlobWithEachOtherAndNotWithTheStore) {
  const path first = MakeBackup(kNow);
  const path second = MakeBackup(kNow + absl::Hours(1));
  EXPECT_TRUE(std::filesystem::equivalent(BlobIn(first, 'i'), BlobIn(second, 'i')));
  EXPECT_FALSE(std::filesystem::equivalent(BlobIn(first, 'i'), BlobIn(State(), 'i')));
}

TEST_F(BackupTest, ADamagedBlobOfTheLastBackupIsNotShared) {
  const path first = MakeBackup(kNow);
  FlipBit(BlobIn(first, 'i'), 0, 0);
  const path second = MakeBackup(kNow + absl::Hours(1));
  EXPECT_THAT(ProblemsOf(second), IsEmpty());
  EXPECT_THAT(ProblemsOf(first), SizeIs(1));
}

TEST_F(BackupTest, NoBackupIsMadeOfADamagedStore) {
  FlipBit(BlobIn(State(), 'l'), 7, 7);
  const auto blob = BackUp(State(), Folder(), kNow);
  EXPECT_THAT(blob, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(std::string(Message(blob.status())), HasSubstr(BlobIn(State(), 'l').string()));
  FlipBit(BlobIn(State(), 'l'), 7, 7);
  Close();
  FlipBit(State() / kDatabaseName, 2 * kPageBytes + 9, 1);
  const auto page = BackUp(State(), Folder(), kNow);
  EXPECT_THAT(page, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(std::string(Message(page.status())), HasSubstr("page 3 is damaged"));
  EXPECT_THAT(Backups(Folder()), IsEmpty());
  for (const auto& entry : std::filesystem::directory_iterator(Folder())) {
    EXPECT_EQ(entry.path().filename(), "lock");
  }
}

// The run goes on while its backup is made, in rounds that are shorter than it takes.
TEST_F(BackupTest, HasBlobsThatAreRemovedMeanwhile) {
  for (const std::string_view when : {"copying the database", "copying blobs"}) {
    ReleaseNext();
    const auto before = static_cast<char>('l' + round_ - 1);
    const absl::Time now = kNow + absl::Seconds(round_);
    const auto made = BackUp(State(), Folder(), now, "", [&](std::string_view task, double) {
      if (task == when) {
        ReleaseNext();
        ReleaseNext();
      }
      return true;
    });
    ASSERT_THAT(made, IsOk()) << made.status();
    EXPECT_FALSE(std::filesystem::exists(BlobIn(State(), before)));
    EXPECT_TRUE(std::filesystem::exists(BlobIn(*made, before)));
    EXPECT_THAT(ProblemsOf(*made), IsEmpty());
  }
}

TEST_F(BackupTest, IsMadeOfAStateDirectoryWhoseDiskHasBecomeReadOnly) {
  Close();
  const ReadOnlyMount mount(State());
  if (!mount.stands()) GTEST_SKIP() << "nothing may be mounted here";
  EXPECT_THAT(ProblemsOf(State()), IsEmpty());
  EXPECT_THAT(ProblemsOf(MakeBackup()), IsEmpty());
}

// A coordinator begins where the state directory can be written, and has rounds.
TEST_F(BackupTest, IsNotMadeByAReadOnlyPathOfAStateDirectoryThatIsWrittenByAnother) {
  Close();
  const TemporaryDirectory elsewhere;
  const ReadOnlyMount mount(State(), elsewhere.path());
  if (!mount.stands()) GTEST_SKIP() << "nothing may be mounted here";
  const auto made =
      BackUp(elsewhere.path(), Folder(), kNow, "", [this](std::string_view task, double) {
        if (task == "copying the database" && runs_ == nullptr) {
          Open();
          ReleaseNext();
        }
        return true;
      });
  EXPECT_THAT(made, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Backups(Folder()), IsEmpty());
}

TEST_F(BackupTest, ACheckSaysNothingByAReadOnlyPathOfWhatIsWrittenByAnother) {
  Close();
  const TemporaryDirectory elsewhere;
  const ReadOnlyMount mount(State(), elsewhere.path());
  if (!mount.stands()) GTEST_SKIP() << "nothing may be mounted here";
  const auto report = CheckState(elsewhere.path(), [this](std::string_view task, double) {
    if (task == "reading blobs" && runs_ == nullptr) {
      Open();
      for (int i = 0; i < 3; ++i) ReleaseNext();
    }
    return true;
  });
  EXPECT_THAT(report, HasCode(absl::StatusCode::kUnavailable));
}

TEST_F(BackupTest, CanBeGivenUp) {
  for (const std::string_view when : {"copying the database", "copying blobs"}) {
    EXPECT_THAT(BackUp(State(), Folder(), kNow, "",
                       [&](std::string_view task, double) { return task != when; }),
                HasCode(absl::StatusCode::kCancelled));
  }
  EXPECT_THAT(Backups(Folder()), IsEmpty());
}

TEST_F(BackupTest, KeepsTheNewestAndThoseOfUpgrades) {
  const auto upgrade = BackUp(State(), Folder(), kNow, "-before-schema-9");
  ASSERT_THAT(upgrade, IsOk());
  for (int hour = 1; hour <= 4; ++hour) MakeBackup(kNow + absl::Hours(hour));
  const absl::Time now = kNow + absl::Hours(4);
  ASSERT_THAT(RemoveOldBackups(Folder(), 2, now), IsOk());
  EXPECT_THAT(Backups(Folder()), ElementsAre(Folder() / BackupName(kNow + absl::Hours(3)),
                                             Folder() / BackupName(kNow + absl::Hours(4))));
  EXPECT_EQ(LastBackup(Folder(), now), kNow + absl::Hours(4));
  EXPECT_THAT(ProblemsOf(*upgrade), IsEmpty());
}

TEST_F(BackupTest, ThoseOfAClockThatWasAheadGoBeforeThoseThatAreMadeNow) {
  for (int hour = 1; hour <= 2; ++hour) MakeBackup(kNow + absl::Hours(10'000 + hour));
  const path before = MakeBackup(kNow);
  const path made = MakeBackup(kNow + absl::Hours(1));
  const absl::Time now = kNow + absl::Hours(1) + absl::Milliseconds(300);
  EXPECT_EQ(LastBackup(Folder(), now), kNow + absl::Hours(1));
  ASSERT_THAT(RemoveOldBackups(Folder(), 2, now), IsOk());
  EXPECT_THAT(Backups(Folder()), ElementsAre(before, made));
}

TEST_F(BackupTest, NothingIsRestoredOverWhatIsThere) {
  const path backup = MakeBackup();
  EXPECT_THAT(Restore(backup, State()), HasCode(absl::StatusCode::kFailedPrecondition));
  Close();
  std::filesystem::remove(State() / kDatabaseName);
  const absl::Status blobs = Restore(backup, State());
  EXPECT_THAT(blobs, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(Message(blobs)), HasSubstr("is not empty: there is blobs"));
}

TEST_F(BackupTest, RootMakesNothingInAFolderOfAnothers) {
  constexpr uid_t kRoot = 0;
  constexpr uid_t kNobody = 65534;
  ASSERT_THAT(MakeDirectories(Folder()), IsOk());
  const bool is_root = ::geteuid() == kRoot;
  ASSERT_EQ(is_root ? ::chown(Folder().c_str(), kNobody, kNobody) : 0, 0);
  const absl::Status refused = CheckIsNotAnothers(Folder() / "not there yet", kRoot);
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(refused), HasSubstr("sudo -u"));
  EXPECT_THAT(CheckIsNotAnothers(Folder(), kNobody), IsOk());
  EXPECT_THAT(CheckIsNotAnothers("/", kRoot), IsOk());
}

TEST_F(BackupTest, AStateDirectoryWithItsLogIsNoBackup) {
  Close();
  Open();
  ReleaseNext();  // Is in the write-ahead log alone.
  const path target = directory_.path() / "new";
  const absl::Status refused = Restore(State(), target);
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(refused), HasSubstr("fedtune-coordinator backup --state-dir"));
  EXPECT_FALSE(std::filesystem::exists(target));
  ASSERT_THAT(Restore(MakeBackup(), target), IsOk());
}

TEST_F(BackupTest, ADamagedBackupIsNotRestored) {
  const path backup = MakeBackup();
  FlipBit(BlobIn(backup, 'i'), 0, 0);
  const path target = directory_.path() / "target";
  EXPECT_THAT(Restore(backup, target), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_FALSE(std::filesystem::exists(target));
  FlipBit(BlobIn(backup, 'i'), 0, 0);
  FlipBit(backup / kDatabaseName, 5000, 0);
  EXPECT_THAT(Restore(backup, target), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_FALSE(std::filesystem::exists(target));
}

// A process that is killed at any of its steps leaves no state directory, and the next
// attempt succeeds.
TEST_F(BackupTest, ARestoreThatWasCutOffIsDoneAgain) {
  const path backup = MakeBackup();
  const path target = directory_.path() / "target";
  const path staged = target / "restored.partial";
  // Cut off while copying.
  std::filesystem::create_directories(staged / kBlobsName);
  ASSERT_THAT(WriteFileAtomically(staged / kDatabaseName, "half of it"), IsOk());
  EXPECT_THAT(CheckHasNotLostItsDatabase(target), HasCode(absl::StatusCode::kFailedPrecondition));
  ASSERT_THAT(Restore(backup, target), IsOk());
  EXPECT_THAT(CheckHasNotLostItsDatabase(target), IsOk());
  // Cut off between the two names.
  std::filesystem::create_directories(staged);
  std::filesystem::rename(target / kDatabaseName, staged / kDatabaseName);
  EXPECT_THAT(CheckHasNotLostItsDatabase(target), HasCode(absl::StatusCode::kFailedPrecondition));
  ASSERT_THAT(Restore(backup, target), IsOk());
  EXPECT_THAT(ProblemsOf(target), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(staged));
}

// A process that is killed has most of a young database in the log.
TEST_F(BackupTest, ADatabaseWithoutItsLogIsNotTheOneOfTheAdapters) {
  for (const char* name : {"fedtune.sqlite", "fedtune.sqlite-wal"}) {
    std::filesystem::create_directories(directory_.path() / "killed");
    std::filesystem::copy(State() / name, directory_.path() / "killed" / name);
  }
  const path killed = directory_.path() / "killed";
  std::filesystem::copy(State() / kBlobsName, killed / kBlobsName);
  EXPECT_THAT(CheckHasNotLostItsDatabase(killed), IsOk());
  std::filesystem::remove(killed / "fedtune.sqlite-wal");
  const absl::Status refused = CheckHasNotLostItsDatabase(killed);
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Message(refused), HasSubstr("holds adapters of some"));
}

TEST_F(BackupTest, AnEmptiedDatabaseIsNotTheOneOfTheAdapters) {
  Close();
  std::filesystem::resize_file(State() / kDatabaseName, 0);
  EXPECT_THAT(CheckHasNotLostItsDatabase(State()), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(BackupTest, AFirstRunThatWasCutOffInItsBeginningHasLostNothing) {
  const path state = directory_.path() / "first";
  std::filesystem::create_directories(state / kBlobsName);
  ASSERT_THAT(OpenStateDatabase(state / kDatabaseName).status(), IsOk());
  ASSERT_THAT(WriteFileAtomically(state / kBlobsName / Sha256Of("a").ToHex(), "a"), IsOk());
  EXPECT_THAT(CheckHasNotLostItsDatabase(state), IsOk());
}

TEST_F(BackupTest, NoBackupIsMadeWithADamagedLog) {
  const path killed = directory_.path() / "killed";
  std::filesystem::create_directories(killed / kBlobsName);
  for (const char* name : {"fedtune.sqlite", "fedtune.sqlite-wal"}) {
    std::filesystem::copy(State() / name, killed / name);
  }
  FlipBit(killed / "fedtune.sqlite-wal", kPageBytes, 3);
  EXPECT_THAT(BackUp(killed, Folder(), kNow).status(), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(ProblemsOf(killed), ElementsAre(HasSubstr("fedtune.sqlite-wal")));
}

// Goes back an hour with each look.
class RunningBack final : public Clock {
 public:
  absl::Time Now() const override { return kNow - absl::Hours(1) * ++looks_; }
  absl::Duration Monotonic() const override { return absl::ZeroDuration(); }

 private:
  mutable std::atomic<int> looks_ = 0;
};

TEST_F(BackupTest, TheOneJustMadeStaysWhenTheClockIsPutBackMeanwhile) {
  const auto old = BackUp(State(), Folder(), kNow - absl::Hours(1000));
  ASSERT_THAT(old, IsOk());
  const RunningBack clock;
  Log log;
  const BackupSchedule schedule(
      {.state = State(), .backups = Folder(), .every = absl::Hours(1), .keep = 1}, clock, log);
  const absl::Time end = absl::Now() + absl::Seconds(60);
  const auto has_rotated = [&] {
    const std::vector<path> made = Backups(Folder());
    return made.size() == 1 && made.front() != *old;
  };
  while (!has_rotated() && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
  EXPECT_TRUE(has_rotated());
}

TEST_F(BackupTest, TheScheduleMakesOneWhenItIsDue) {
  const SystemClock clock;
  Log log;
  const BackupSchedule::Options hourly{
      .state = State(), .backups = Folder(), .every = absl::Hours(1), .keep = 1};
  {
    const BackupSchedule schedule(hourly, clock, log);
    const absl::Time end = absl::Now() + absl::Seconds(60);
    while (Backups(Folder()).empty() && absl::Now() < end) absl::SleepFor(absl::Milliseconds(5));
  }
  ASSERT_THAT(Backups(Folder()), SizeIs(1));
  const path first = Backups(Folder()).front();
  // A restart makes no other one.
  { const BackupSchedule schedule(hourly, clock, log); }
  EXPECT_THAT(Backups(Folder()), ElementsAre(first));
}

}  // namespace
}  // namespace fedtune
