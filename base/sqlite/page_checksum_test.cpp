// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/page_checksum.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/sqlite/sqlite.h"
#include "base/status.h"
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

constexpr int64_t kPageBytes = 4096;

class PageChecksumTest : public ::testing::Test {
 protected:
  // Some pages of a table and of its index.
  static void Fill(SqliteDatabase& database) {
    ASSERT_THAT(database.Execute("CREATE TABLE pots (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
                                 "CREATE INDEX by_name ON pots (name);"),
                IsOk());
    absl::StatusOr<SqliteTransaction> transaction = SqliteTransaction::Begin(database);
    for (int i = 0; i < 200; ++i) {
      ASSERT_THAT(database.Run("INSERT INTO pots (name) VALUES (?)", std::string(100, 'a')),
                  IsOk());
    }
    ASSERT_THAT((*std::move(transaction)).Commit(), IsOk());
  }

  void MakeChecked() const {
    auto database = SqliteDatabase::OpenChecked(path_);
    ASSERT_THAT(database, IsOk());
    Fill(*database);
  }

  static int64_t CountPots(SqliteDatabase& database) {
    auto count = database.Prepare("SELECT COUNT(*) FROM pots");
    EXPECT_THAT(count, IsOk());
    EXPECT_THAT(count->Step(), IsOk());
    return count->Int64(0);
  }

  int64_t Pages() const {
    return static_cast<int64_t>(std::filesystem::file_size(path_)) / kPageBytes;
  }

  void FlipBit(int64_t byte, int bit) const {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(byte);
    const int was = file.get();
    file.seekp(byte);
    file.put(static_cast<char>(was ^ (1 << bit)));
  }

  // Reads everything there is.
  absl::Status ReadAll() const {
    ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::OpenChecked(path_));
    ASSIGN_OR_RETURN(const std::vector<std::string> problems, database.Problems());
    return problems.empty() ? absl::OkStatus() : absl::DataLossError(problems.front());
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "pots.db";
};

TEST_F(PageChecksumTest, EveryPageThatWasWrittenIsSealed) {
  MakeChecked();
  EXPECT_GT(Pages(), 10);
  EXPECT_THAT(*DamagedPages(path_), IsEmpty());
  EXPECT_THAT(ReadAll(), IsOk());
}

TEST_F(PageChecksumTest, AFlippedBitInAnyPageIsFoundAndNamed) {
  MakeChecked();
  for (int64_t page = 1; page <= Pages(); ++page) {
    for (const int64_t at : {int64_t{20}, int64_t{517}, kPageBytes - 1}) {
      const int64_t byte = (page - 1) * kPageBytes + at;
      FlipBit(byte, static_cast<int>(page % 8));
      EXPECT_THAT(*DamagedPages(path_), ElementsAre(page)) << at;
      const absl::Status read = ReadAll();
      EXPECT_THAT(read, HasCode(absl::StatusCode::kDataLoss)) << "page " << page << " at " << at;
      EXPECT_THAT(std::string(Message(read)), HasSubstr(fmt::format("page {} is damaged", page)))
          << at;
      FlipBit(byte, static_cast<int>(page % 8));
    }
  }
  EXPECT_THAT(ReadAll(), IsOk());
}

// The header holds what tells a checked database from another one.
TEST_F(PageChecksumTest, NoFlippedBitOfTheHeaderGoesUnnoticed) {
  MakeChecked();
  for (int64_t i = 0; i < 800; ++i) {
    const int64_t byte = i / 8;
    const int bit = static_cast<int>(i % 8);
    FlipBit(byte, bit);
    EXPECT_THAT(ReadAll(), HasCode(absl::StatusCode::kDataLoss)) << byte << " bit " << bit;
    FlipBit(byte, bit);
  }
  FlipBit(40, 3);
  EXPECT_THAT(*DamagedPages(path_), ElementsAre(1));
  FlipBit(40, 3);
  EXPECT_THAT(ReadAll(), IsOk());
}

TEST_F(PageChecksumTest, APageInAnothersPlaceIsFound) {
  MakeChecked();
  std::string bytes = *ReadFile(path_);
  bytes.replace(3 * kPageBytes, kPageBytes, bytes.substr(4 * kPageBytes, kPageBytes));
  ASSERT_THAT(WriteFileAtomically(path_, bytes), IsOk());
  EXPECT_THAT(*DamagedPages(path_), ElementsAre(4));
}

TEST_F(PageChecksumTest, AFileThatWasCutOffIsFound) {
  MakeChecked();
  const int64_t pages = Pages();
  std::filesystem::resize_file(path_, static_cast<uintmax_t>(pages * kPageBytes - 100));
  EXPECT_THAT(*DamagedPages(path_), ElementsAre(pages));
}

TEST_F(PageChecksumTest, AnUncheckedDatabaseBecomesACheckedOne) {
  {
    auto old = SqliteDatabase::Open(path_);
    Fill(*old);
    ASSERT_THAT(old->Execute("PRAGMA user_version = 7"), IsOk());
  }
  auto database = SqliteDatabase::OpenChecked(path_);
  ASSERT_THAT(database, IsOk()) << database.status();
  EXPECT_EQ(CountPots(*database), 200);
  EXPECT_EQ(*database->SchemaVersion(), 7);
  EXPECT_THAT(*database->Problems(), IsEmpty());
  EXPECT_THAT(*DamagedPages(path_), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(path_.string() + ".partial"));
}

TEST_F(PageChecksumTest, OneThatALinkNamesBecomesACheckedOneWhereItLies) {
  {
    auto old = SqliteDatabase::Open(path_);
    Fill(*old);
  }
  const std::filesystem::path link = path_.string() + ".link";
  std::filesystem::create_symlink(path_, link);
  ASSERT_THAT(SqliteDatabase::OpenChecked(link), IsOk());
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_THAT(*DamagedPages(path_), IsEmpty());
}

TEST_F(PageChecksumTest, ABackupIsCheckedAndAsTheDatabaseWasThen) {
  auto database = SqliteDatabase::OpenChecked(path_);
  Fill(*database);
  auto reader = SqliteDatabase::OpenToRead(path_);
  ASSERT_THAT(reader, IsOk());
  const auto copy = directory_.path() / "copy.db";
  int64_t told = 0;
  ASSERT_THAT(reader->BackUpTo(copy, [&](int64_t done, int64_t) { return (told = done) > 0; }),
              IsOk());
  EXPECT_GT(told, 10);
  ASSERT_THAT(database->Execute("DELETE FROM pots"), IsOk());
  EXPECT_THAT(*DamagedPages(copy), IsEmpty());
  auto restored = SqliteDatabase::OpenToRead(copy);
  EXPECT_EQ(CountPots(*restored), 200);
  EXPECT_FALSE(std::filesystem::exists(copy.string() + "-wal"));
}

TEST_F(PageChecksumTest, ABackupCanBeGivenUp) {
  MakeChecked();
  auto reader = SqliteDatabase::OpenToRead(path_);
  const auto give_up = [](int64_t, int64_t) { return false; };
  EXPECT_THAT(reader->BackUpTo(directory_.path() / "copy.db", give_up),
              HasCode(absl::StatusCode::kCancelled));
  EXPECT_THAT(DamagedPages(path_, give_up), HasCode(absl::StatusCode::kCancelled));
}

TEST_F(PageChecksumTest, ABackupGoesOnWhileOthersWrite) {
  auto database = SqliteDatabase::OpenChecked(path_);
  Fill(*database);
  ASSERT_THAT(database->Run("INSERT INTO pots (name) VALUES (?)", std::string(8 << 20, 'b')),
              IsOk());
  auto reader = SqliteDatabase::OpenToRead(path_);
  const auto copy = directory_.path() / "copy.db";
  int steps = 0;
  ASSERT_THAT(reader->BackUpTo(copy,
                               [&](int64_t, int64_t) {
                                 ++steps;
                                 EXPECT_THAT(database->Execute("DELETE FROM pots WHERE id = 1"),
                                             IsOk());
                                 return true;
                               }),
              IsOk());
  EXPECT_GT(steps, 1);
  EXPECT_LT(steps, 10);
  auto restored = SqliteDatabase::OpenToRead(copy);
  EXPECT_EQ(CountPots(*restored), 201);
  EXPECT_EQ(CountPots(*database), 200);
}

}  // namespace
}  // namespace fedtune
