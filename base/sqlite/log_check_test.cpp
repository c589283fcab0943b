// SPDX-License-Identifier: Apache-2.0

#include "base/sqlite/log_check.h"

#include <fstream>
#include <optional>
#include <string>

#include "base/files.h"
#include "base/sqlite/sqlite.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Optional;

constexpr size_t kHeaderBytes = 32;
constexpr size_t kFrameBytes = 24 + 4096;

size_t FrameAt(size_t number) { return kHeaderBytes + (number - 1) * kFrameBytes; }

// A database whose log a test damages: rows of 9,000 bytes, each a transaction of a few
// frames, as a process leaves them that is killed.
class LogCheckTest : public ::testing::Test {
 protected:
  struct Killed {
    std::string file;
    std::string log;
  };

  // What a process that adds so many rows, and then does this, has on the disk.
  Killed Add(int rows, std::string_view then = "") const {
    SqliteDatabase database = *SqliteDatabase::OpenChecked(path_);
    EXPECT_THAT(database.Execute("CREATE TABLE IF NOT EXISTS t (content BLOB)"), IsOk());
    for (int i = 0; i < rows; ++i) {
      EXPECT_THAT(database.Run("INSERT INTO t VALUES (zeroblob(9000))"), IsOk());
    }
    if (!then.empty()) {
      EXPECT_THAT(database.Execute(std::string(then)), IsOk());
    }
    return {*ReadFile(path_), *ReadFile(Log())};
  }

  void PutBack(const Killed& killed) const {
    std::ofstream(path_, std::ios::binary) << killed.file;
    std::ofstream(Log(), std::ios::binary) << killed.log;
    std::filesystem::remove(path_.string() + "-shm");
  }

  int64_t Rows() const {
    const SqliteDatabase database = *SqliteDatabase::OpenToRead(path_);
    SqliteStatement count = *database.Prepare("SELECT COUNT(*) FROM t");
    EXPECT_THAT(count.Step(), IsOk());
    return count.Int64(0);
  }

  std::filesystem::path Log() const { return path_.string() + "-wal"; }

  // The frame that ends the last transaction but `before`.
  static size_t CommitOf(const std::string& log, int before) {
    for (size_t frame = (log.size() - kHeaderBytes) / kFrameBytes; frame > 0; --frame) {
      const bool commits = log.substr(FrameAt(frame) + 4, 4) != std::string(4, '\0');
      if (commits && before-- == 0) return frame;
    }
    return 0;
  }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path path_ = folder_.path() / "some.db";
};

TEST_F(LogCheckTest, OpensALogThatIsWhole) {
  PutBack(Add(5));
  EXPECT_EQ(DamagedFrame(path_), std::nullopt);
  EXPECT_EQ(Rows(), 5);
}

TEST_F(LogCheckTest, FindsEveryFlippedBitBeforeTheLastTransaction) {
  const Killed killed = Add(4);
  const size_t end = FrameAt(CommitOf(killed.log, 1) + 1);
  int tries = 0;
  for (size_t at = 0; at < end; at += 101) {
    Killed damaged = killed;
    damaged.log[at] = static_cast<char>(damaged.log[at] ^ 1 << tries++ % 8);
    PutBack(damaged);
    EXPECT_NE(DamagedFrame(path_), std::nullopt) << "a bit of byte " << at;
  }
  EXPECT_GT(tries, 400);
}

TEST_F(LogCheckTest, FindsEveryFlippedBitOfTheHeader) {
  const Killed killed = Add(4);
  for (size_t bit = 0; bit < 8 * kHeaderBytes; ++bit) {
    Killed damaged = killed;
    damaged.log[bit / 8] = static_cast<char>(damaged.log[bit / 8] ^ 1 << bit % 8);
    PutBack(damaged);
    EXPECT_THAT(SqliteDatabase::OpenChecked(path_).status(), HasCode(absl::StatusCode::kDataLoss))
        << "bit " << bit;
  }
}

// Of the number of checkpoints, which a new header has first.
TEST_F(LogCheckTest, AHeaderThatACrashHasLeftHalfNewIsNoDamageWhereTheDatabaseHasTheLog) {
  Killed killed = Add(4, "PRAGMA wal_checkpoint(FULL)");
  ++killed.log[15];
  PutBack(killed);
  EXPECT_EQ(DamagedFrame(path_), std::nullopt);
  { const SqliteDatabase database = *SqliteDatabase::OpenChecked(path_); }
  EXPECT_EQ(Rows(), 4);
}

// Of the last transaction but one: its last frame's own checksum, salts and content.
TEST_F(LogCheckTest, FindsAFlippedBitInACommit) {
  const Killed killed = Add(4);
  const size_t commit = FrameAt(CommitOf(killed.log, 1));
  for (const size_t at : {commit + 9, commit + 17, commit + 23, commit + 300}) {
    Killed damaged = killed;
    damaged.log[at] ^= 4;
    PutBack(damaged);
    EXPECT_NE(DamagedFrame(path_), std::nullopt) << "a bit of byte " << at - commit;
  }
}

TEST_F(LogCheckTest, NamesTheFrame) {
  Killed killed = Add(4);
  killed.log[FrameAt(3) + 1000] ^= 1;
  PutBack(killed);
  EXPECT_THAT(DamagedFrame(path_), Optional(Eq(3)));
  EXPECT_THAT(SqliteDatabase::OpenChecked(path_).status(), HasCode(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Message(SqliteDatabase::OpenToRead(path_).status()),
              HasSubstr("some.db-wal, which is part of the database: frame 3 is damaged"));
}

// As an operator has one whose state is on another disk.
TEST_F(LogCheckTest, LooksBesideTheFileThatALinkNames) {
  Killed killed = Add(4);
  killed.log[FrameAt(3) + 1000] ^= 1;
  PutBack(killed);
  const std::filesystem::path link = folder_.path() / "elsewhere" / "link.db";
  std::filesystem::create_directory(link.parent_path());
  std::filesystem::create_symlink(path_, link);
  EXPECT_THAT(DamagedFrame(link), Optional(Eq(3)));
  EXPECT_THAT(Message(SqliteDatabase::OpenChecked(link).status()),
              HasSubstr("some.db-wal, which is part of the database: frame 3 is damaged"));
}

TEST_F(LogCheckTest, NamesTheHeader) {
  Killed killed = Add(4);
  killed.log[9] ^= 1;
  PutBack(killed);
  EXPECT_THAT(DamagedFrame(path_), Optional(Eq(0)));
}

TEST_F(LogCheckTest, WhatACrashHasCutOffIsNoDamage) {
  const Killed killed = Add(4);
  const size_t last = FrameAt(CommitOf(killed.log, 1) + 1);
  for (const size_t size : {last, last + 7, last + kFrameBytes, killed.log.size() - 1}) {
    PutBack({killed.file, killed.log.substr(0, size)});
    EXPECT_EQ(Rows(), 3) << size;
  }
}

TEST_F(LogCheckTest, ATransactionThatIsOnTheDiskInPartIsNoDamage) {
  Killed killed = Add(4);
  const size_t last = FrameAt(CommitOf(killed.log, 1) + 1);
  killed.log.replace(last, kFrameBytes, std::string(kFrameBytes, '\0'));
  PutBack(killed);
  EXPECT_EQ(Rows(), 3);
}

// Of two crashes the second leaves commits of both behind what it has cut off.
TEST_F(LogCheckTest, WhatTwoCrashesHaveLeftIsNoDamage) {
  Killed killed = Add(1);
  const size_t end = killed.log.size();
  PutBack(killed);
  const Killed first = Add(4);
  killed.log = first.log;
  killed.log.replace(end, kFrameBytes, std::string(kFrameBytes, '\0'));
  const size_t long_ago = CommitOf(killed.log, 0);
  killed.log.replace(end, FrameAt(long_ago - 1) - end, std::string(FrameAt(long_ago - 1) - end, 0));
  PutBack(killed);
  Killed second = Add(1);  // Shorter than what lies behind it.
  ASSERT_EQ(CommitOf(second.log, 0), long_ago);
  second.log.replace(end, kFrameBytes, std::string(kFrameBytes, '\0'));
  PutBack(second);
  EXPECT_EQ(DamagedFrame(path_), std::nullopt);
  EXPECT_EQ(Rows(), 1);
}

TEST_F(LogCheckTest, WithoutALogThereIsNoDamage) {
  { const SqliteDatabase database = *SqliteDatabase::OpenChecked(path_); }
  EXPECT_EQ(DamagedFrame(path_), std::nullopt);
}

}  // namespace
}  // namespace fedtune
