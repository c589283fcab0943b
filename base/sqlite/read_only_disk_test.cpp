// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/read_only_disk.h"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "base/sqlite/sqlite.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/failing_disk.h"
#include "tests/support/read_only_mount.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::FailingDisk;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;
using testing::ReadOnlyMount;
using testing::TemporaryDirectory;

// A database with two pots, under a name with all that a URI takes for its own.
class ReadOnlyDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<SqliteDatabase> made = SqliteDatabase::OpenChecked(path_);
    ASSERT_THAT(made, IsOk());
    ASSERT_THAT(made->Execute("CREATE TABLE pots (id); INSERT INTO pots VALUES (1), (2);"), IsOk());
  }

  absl::StatusOr<int64_t> CountPots() const { return CountPots(path_); }

  static absl::StatusOr<int64_t> CountPots(const std::filesystem::path& path) {
    ASSIGN_OR_RETURN(const SqliteDatabase database, SqliteDatabase::OpenToRead(path));
    ASSIGN_OR_RETURN(SqliteStatement count, database.Prepare("SELECT COUNT(*) FROM pots"));
    RETURN_IF_ERROR(count.Step().status());
    return count.Int64(0);
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "50%25 off? #1.db";
};

TEST_F(ReadOnlyDiskTest, ADatabaseThereCanBeRead) {
  const ReadOnlyMount mount(directory_.path());
  if (!mount.stands()) GTEST_SKIP() << "nothing may be mounted here";
  const absl::StatusOr<int64_t> pots = CountPots();
  ASSERT_THAT(pots, IsOk()) << pots.status();
  EXPECT_EQ(*pots, 2);
  EXPECT_FALSE(SqliteDatabase::Open(path_).ok());
}

TEST_F(ReadOnlyDiskTest, APathThereMayBeginWithTwoSlashes) {
  const ReadOnlyMount mount(directory_.path());
  if (!mount.stands()) GTEST_SKIP() << "nothing may be mounted here";
  const absl::StatusOr<int64_t> pots = CountPots("/" + path_.string());
  ASSERT_THAT(pots, IsOk()) << pots.status();
  EXPECT_EQ(*pots, 2);
}

TEST_F(ReadOnlyDiskTest, WhatOnlyItsLogHasIsReadThere) {
  absl::StatusOr<SqliteDatabase> writer = SqliteDatabase::OpenChecked(path_);
  ASSERT_THAT(writer, IsOk());
  ASSERT_THAT(writer->Execute("INSERT INTO pots VALUES (3)"), IsOk());
  const ReadOnlyMount mount(directory_.path());
  if (!mount.stands()) GTEST_SKIP() << "nothing may be mounted here";
  EXPECT_FALSE(DatabaseOnReadOnlyDisk::Find(path_).has_value());
  const absl::StatusOr<int64_t> pots = CountPots();
  ASSERT_THAT(pots, IsOk()) << pots.status();
  EXPECT_EQ(*pots, 3);
}

TEST_F(ReadOnlyDiskTest, ItsLogLiesBesideWhatALinkNames) {
  const std::filesystem::path link = directory_.path() / "link.db";
  std::filesystem::create_symlink(path_.filename(), link);
  absl::StatusOr<SqliteDatabase> writer = SqliteDatabase::OpenChecked(path_);
  ASSERT_THAT(writer, IsOk());
  ASSERT_THAT(writer->Execute("INSERT INTO pots VALUES (3)"), IsOk());
  const ReadOnlyMount mount(directory_.path());
  if (!mount.stands()) GTEST_SKIP() << "nothing may be mounted here";
  const absl::StatusOr<int64_t> pots = CountPots(link);
  ASSERT_THAT(pots, IsOk()) << pots.status();
  EXPECT_EQ(*pots, 3);
}

TEST_F(ReadOnlyDiskTest, ADatabaseCanBeReadOnADiskThatHasFailed) {
  const FailingDisk disk(directory_.path());
  if (!disk.stands()) GTEST_SKIP() << "no disk may be made here";
  const std::filesystem::path moved = disk.path() / "pots.db";
  std::filesystem::copy_file(path_, moved);
  if (!disk.Fail()) GTEST_SKIP() << "no disk can be made to fail here";
  EXPECT_FALSE(SqliteDatabase::Open(disk.path() / "new.db").ok());
  const absl::StatusOr<int64_t> pots = CountPots(moved);
  ASSERT_THAT(pots, IsOk()) << pots.status();
  EXPECT_EQ(*pots, 2);
}

// The same database by a path by which it can only be read, and which was last written long
// ago.
class ReadOnlyPathTest : public ReadOnlyDiskTest {
 protected:
  void SetUp() override {
    ReadOnlyDiskTest::SetUp();
    const auto hour_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
    std::filesystem::last_write_time(path_, hour_ago);
    if (!mount_.stands()) GTEST_SKIP() << "nothing may be mounted here";
    absl::StatusOr<SqliteDatabase> reader =
        SqliteDatabase::OpenToRead(elsewhere_.path() / path_.filename());
    ASSERT_THAT(reader, IsOk());
    reader_.emplace(*std::move(reader));
  }

  absl::Status BackUp(const PageProgress& progress) {
    return reader_->BackUpTo(directory_.path() / "copy.db", progress);
  }

  void Write(std::optional<SqliteDatabase>& writer) const {
    absl::StatusOr<SqliteDatabase> opened = SqliteDatabase::OpenChecked(path_);
    ASSERT_THAT(opened, IsOk());
    writer.emplace(*std::move(opened));
    EXPECT_THAT(writer->Execute("UPDATE pots SET id = id + 1"), IsOk());
  }

  const TemporaryDirectory elsewhere_;
  const ReadOnlyMount mount_{directory_.path(), elsewhere_.path()};
  std::optional<SqliteDatabase> reader_;
};

TEST_F(ReadOnlyPathTest, WhatNobodyWritesIsCopied) {
  EXPECT_THAT(BackUp(nullptr), IsOk());
  EXPECT_THAT(reader_->CheckIsStill(), IsOk());
}

TEST_F(ReadOnlyPathTest, WhatIsWrittenDuringACopyIsNotTaken) {
  const absl::Status made = BackUp([this](int64_t, int64_t) {
    std::optional<SqliteDatabase> writer;
    Write(writer);
    return true;
  });
  EXPECT_THAT(made, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Message(made), HasSubstr("is being written"));
}

TEST_F(ReadOnlyPathTest, WhatIsWrittenToItsLogDuringACopyIsNotLeftOut) {
  std::optional<SqliteDatabase> writer;
  EXPECT_THAT(BackUp([&](int64_t, int64_t) {
                Write(writer);
                return true;
              }),
              HasCode(absl::StatusCode::kUnavailable));
}

TEST_F(ReadOnlyPathTest, APageThatIsWrittenMeanwhileIsNotTakenForADamagedOne) {
  std::fstream(path_, std::ios::in | std::ios::out | std::ios::binary).seekp(4096) << "half a page";
  EXPECT_THAT(reader_->Execute("SELECT * FROM pots"), HasCode(absl::StatusCode::kUnavailable));
}

TEST_F(ReadOnlyDiskTest, OfOneThatCanBeWrittenThereIsNoSuchUri) {
  EXPECT_FALSE(DatabaseOnReadOnlyDisk::Find(path_).has_value());
}

}  // namespace
}  // namespace fedtune
