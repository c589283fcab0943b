// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/sqlite.h"

#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::EndsWith;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::TemporaryDirectory;

constexpr std::array<std::string_view, 2> kSteps = {
    "CREATE TABLE pots (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, weight REAL,"
    " glaze BLOB) STRICT;",
    "CREATE TABLE shards (pot INTEGER NOT NULL REFERENCES pots (id)) STRICT;"
    "CREATE INDEX shards_by_pot ON shards (pot);",
};

class SqliteTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = SqliteDatabase::Open(path_);
    ASSERT_THAT(opened, IsOk());
    database_.emplace(*std::move(opened));
    ASSERT_THAT(database_->Migrate(kSteps), IsOk());
  }

  // The whole number that `sql` selects.
  int64_t Number(std::string_view sql) {
    absl::StatusOr<SqliteStatement> statement = database_->Prepare(sql);
    EXPECT_THAT(statement, IsOk());
    EXPECT_THAT(statement->Step(), IsOk());
    return statement->Int64(0);
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "pots.db";
  std::optional<SqliteDatabase> database_;
};

TEST_F(SqliteTest, ReadsBackEveryKindOfValue) {
  const std::string glaze("\0\xff\1", 3);
  absl::StatusOr<SqliteStatement> insert =
      database_->Prepare("INSERT INTO pots VALUES (?, ?, ?, ?)");
  ASSERT_THAT(insert, IsOk());
  insert->Bind(int64_t{1} << 60).Bind("vase").Bind(1.5).BindBlob(glaze);
  EXPECT_FALSE(*insert->Step());

  absl::StatusOr<SqliteStatement> select = database_->Prepare("SELECT * FROM pots");
  ASSERT_THAT(select, IsOk());
  ASSERT_TRUE(*select->Step());
  EXPECT_EQ(select->Int64(0), int64_t{1} << 60);
  EXPECT_EQ(select->Text(1), "vase");
  EXPECT_EQ(select->Double(2), 1.5);
  EXPECT_EQ(select->Blob(3), glaze);
  EXPECT_FALSE(select->IsNull(3));
  EXPECT_FALSE(*select->Step());
}

TEST_F(SqliteTest, TellsNullFromEmpty) {
  ASSERT_THAT(database_->Run("INSERT INTO pots VALUES (?, ?, ?, ?)", 1, std::string_view(),
                             std::optional<double>(), std::span<const std::byte>()),
              IsOk());
  EXPECT_EQ(Number("SELECT count(*) FROM pots WHERE name = '' AND weight IS NULL AND "
                   "glaze = x''"),
            1);
}

TEST_F(SqliteTest, AStatementRunsAgainAfterReset) {
  absl::StatusOr<SqliteStatement> insert = database_->Prepare("INSERT INTO pots (name) VALUES (?)");
  for (const char* name : {"vase", "bowl", "cup"}) {
    insert->Bind(name);
    EXPECT_THAT(insert->Step(), IsOk());
    insert->Reset();
  }
  EXPECT_EQ(Number("SELECT count(*) FROM pots"), 3);
  EXPECT_EQ(database_->LastInsertedRowId(), 3);
}

TEST_F(SqliteTest, CountsChangedRows) {
  ASSERT_THAT(database_->Run("INSERT INTO pots (name) VALUES (?), (?)", "vase", "bowl"), IsOk());
  EXPECT_EQ(database_->ChangedRows(), 2);
  ASSERT_THAT(database_->Run("UPDATE pots SET weight = 1 WHERE name = ?", "cup"), IsOk());
  EXPECT_EQ(database_->ChangedRows(), 0);
}

TEST_F(SqliteTest, ReportsAParameterTooMany) {
  EXPECT_THAT(database_->Run("INSERT INTO pots (name) VALUES (?)", "vase", 2),
              HasCode(absl::StatusCode::kInternal));
}

TEST_F(SqliteTest, ReportsWrongSqlAndTheFile) {
  const absl::Status status = database_->Run("SELEKT 1");
  EXPECT_THAT(status, HasCode(absl::StatusCode::kInternal));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("pots.db: near \"SELEKT\""));
}

TEST_F(SqliteTest, RefusesASecondStatement) {
  EXPECT_THAT(database_->Prepare("SELECT 1; DELETE FROM pots"),
              HasCode(absl::StatusCode::kInternal));
}

TEST_F(SqliteTest, RefusesAnEmptyStatement) {
  EXPECT_THAT(database_->Prepare(" "), HasCode(absl::StatusCode::kInternal));
}

TEST_F(SqliteTest, ReportsADuplicate) {
  ASSERT_THAT(database_->Run("INSERT INTO pots (name) VALUES ('vase')"), IsOk());
  EXPECT_THAT(database_->Run("INSERT INTO pots (name) VALUES ('vase')"),
              HasCode(absl::StatusCode::kAlreadyExists));
}

TEST_F(SqliteTest, EnforcesForeignKeys) {
  EXPECT_THAT(database_->Run("INSERT INTO shards VALUES (7)"),
              HasCode(absl::StatusCode::kFailedPrecondition));
}

TEST_F(SqliteTest, ReportsAFullDisk) {
  ASSERT_THAT(database_->Execute("PRAGMA max_page_count = 8"), IsOk());
  const absl::Status status =
      database_->Run("INSERT INTO pots (name, glaze) VALUES ('vase', zeroblob(100000))");
  EXPECT_THAT(status, HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(std::string(Message(status)), HasSubstr("disk full"));
}

TEST_F(SqliteTest, IsDurableAndPrivate) {
  EXPECT_EQ(Number("PRAGMA synchronous"), 2);
  EXPECT_EQ(Number("PRAGMA foreign_keys"), 1);
  absl::StatusOr<SqliteStatement> mode = database_->Prepare("PRAGMA journal_mode");
  ASSERT_TRUE(*mode->Step());
  EXPECT_EQ(mode->Text(0), "wal");
  EXPECT_EQ(std::filesystem::status(path_).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(SqliteTest, FindsASoundFileSound) { EXPECT_THAT(*database_->Problems(), IsEmpty()); }

TEST_F(SqliteTest, FindsADamagedPage) {
  ASSERT_THAT(database_->Run("INSERT INTO pots (name, glaze) VALUES ('v', zeroblob(50000))"),
              IsOk());
  database_.reset();
  std::string bytes = *ReadFile(path_);
  // The second page is the root of a table: its cell pointers become nonsense.
  for (size_t i = 4096 + 3; i < 4096 + 40; ++i) bytes[i] = '\x7f';
  ASSERT_THAT(WriteFileAtomically(path_, bytes), IsOk());
  absl::StatusOr<SqliteDatabase> damaged = SqliteDatabase::Open(path_);
  ASSERT_THAT(damaged, IsOk());
  EXPECT_THAT(damaged->Problems(), HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(SqliteTest, ACommittedTransactionIsSeenByOthers) {
  absl::StatusOr<SqliteTransaction> transaction = SqliteTransaction::Begin(*database_);
  ASSERT_THAT(transaction, IsOk());
  ASSERT_THAT(database_->Run("INSERT INTO pots (name) VALUES ('vase')"), IsOk());
  ASSERT_THAT((*std::move(transaction)).Commit(), IsOk());
  database_ = *SqliteDatabase::Open(path_);
  EXPECT_EQ(Number("SELECT count(*) FROM pots"), 1);
}

TEST_F(SqliteTest, ATransactionThatIsNotCommittedLeavesNoTrace) {
  {
    absl::StatusOr<SqliteTransaction> transaction = SqliteTransaction::Begin(*database_);
    ASSERT_THAT(transaction, IsOk());
    ASSERT_THAT(database_->Run("INSERT INTO pots (name) VALUES ('vase')"), IsOk());
  }
  EXPECT_EQ(Number("SELECT count(*) FROM pots"), 0);
  EXPECT_THAT(SqliteTransaction::Begin(*database_), IsOk());
}

TEST_F(SqliteTest, RefusesATransactionInATransaction) {
  absl::StatusOr<SqliteTransaction> transaction = SqliteTransaction::Begin(*database_);
  EXPECT_FALSE(SqliteTransaction::Begin(*database_).ok());
}

TEST_F(SqliteTest, SaysThatAnotherHoldsTheDatabase) {
  absl::StatusOr<SqliteDatabase> other = SqliteDatabase::Open(path_);
  ASSERT_THAT(other->Execute("PRAGMA busy_timeout = 0"), IsOk());
  absl::StatusOr<SqliteTransaction> transaction = SqliteTransaction::Begin(*database_);
  EXPECT_THAT(SqliteTransaction::Begin(*other), HasCode(absl::StatusCode::kUnavailable));
}

TEST_F(SqliteTest, MigratesOnlyWhatIsNew) {
  EXPECT_THAT(database_->Migrate(kSteps), IsOk());
  const std::vector<std::string_view> longer = {kSteps[0], kSteps[1],
                                                "ALTER TABLE pots ADD COLUMN kiln TEXT;"};
  EXPECT_THAT(database_->Migrate(longer), IsOk());
  EXPECT_EQ(Number("PRAGMA user_version"), 3);
  EXPECT_THAT(database_->Run("INSERT INTO pots (name, kiln) VALUES ('vase', 'north')"), IsOk());
}

TEST_F(SqliteTest, AFailedMigrationStepLeavesNoTrace) {
  const std::vector<std::string_view> broken = {kSteps[0], kSteps[1],
                                                "CREATE TABLE lids (id INTEGER); SELEKT;"};
  EXPECT_FALSE(database_->Migrate(broken).ok());
  EXPECT_EQ(Number("PRAGMA user_version"), 2);
  EXPECT_EQ(Number("SELECT count(*) FROM sqlite_schema WHERE name = 'lids'"), 0);
}

TEST_F(SqliteTest, RefusesADatabaseOfANewerProgram) {
  const absl::Status status = database_->Migrate(std::span(kSteps).first(1));
  EXPECT_THAT(status, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(std::string(Message(status)),
              EndsWith("was written by a newer version of this program (schema 2, this one knows "
                       "1); use the newer version"))
      << "an older copy may be just what must not come back";
}

TEST(SqliteOpenTest, KeepsAnInMemoryDatabase) {
  absl::StatusOr<SqliteDatabase> database = SqliteDatabase::Open(":memory:");
  ASSERT_THAT(database, IsOk());
  EXPECT_THAT(database->Migrate(kSteps), IsOk());
  EXPECT_FALSE(std::filesystem::exists(":memory:"));
}

TEST(SqliteOpenTest, RefusesAMissingFolder) {
  EXPECT_THAT(SqliteDatabase::Open("/nowhere/at/all.db"), HasCode(absl::StatusCode::kNotFound));
}

TEST_F(SqliteTest, NamesTheFileThatCannotBeOpened) {
  const std::filesystem::path socket = directory_.path() / "socket.db";
  ASSERT_EQ(::mknod(socket.c_str(), S_IFSOCK | 0600, 0), 0);
  const absl::Status status = SqliteDatabase::OpenToRead(socket).status();
  EXPECT_THAT(std::string(Message(status)), HasSubstr("cannot open " + socket.string()));
  EXPECT_EQ(ExitCodeFor(status), static_cast<int>(ExitCode::kFailed));
}

TEST(SqliteOpenTest, RefusesAFileThatIsNoDatabase) {
  const TemporaryDirectory directory;
  const std::filesystem::path path = directory.path() / "letter.txt";
  ASSERT_THAT(WriteFileAtomically(path, std::string(5000, 'x')), IsOk());
  EXPECT_THAT(SqliteDatabase::Open(path), HasCode(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace fedtune
