// SPDX-License-Identifier: Apache-2.0

#include "client/storage/session_journal.h"

#include <fstream>

#include "base/files.h"
#include "base/status.h"
#include "client/storage/agreed_rounds.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::fedtune::testing::HasCode;
using ::fedtune::testing::IsOk;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr auto kRefused = absl::StatusCode::kFailedPrecondition;

JournalSession First() { return {.id = Sha256Of("attempt 1"), .run = "run-1", .round = 7}; }
JournalSession Second() { return {.id = Sha256Of("attempt 2"), .run = "run-1", .round = 7}; }

class SessionJournalTest : public ::testing::Test {
 protected:
  SessionJournal Open() const { return *SessionJournal::Open(path_, key_); }

  const testing::TemporaryDirectory folder_;
  const std::filesystem::path path_ = folder_.path() / "sessions.db";
  const SigningKey key_ = SigningKey::Generate(CipherSuite::kCurve25519);
};

TEST_F(SessionJournalTest, KeepsSecretAndRecordsForTheNextProcess) {
  Bytes secret;
  {
    SessionJournal journal = Open();
    const auto kept = journal.Begin(First());
    ASSERT_THAT(kept, IsOk());
    EXPECT_THAT(kept->records, IsEmpty());
    secret.assign(kept->round_secret.Reveal().begin(), kept->round_secret.Reveal().end());
    EXPECT_EQ(secret.size(), 32);
    ASSERT_THAT(journal.Append(First().id, 0, Bytes{1}, false), IsOk());
    ASSERT_THAT(journal.Append(First().id, 1, Bytes{2, 2}, true), IsOk());
  }
  SessionJournal journal = Open();
  const auto kept = journal.Begin(First());
  ASSERT_THAT(kept, IsOk());
  EXPECT_EQ(kept->round_secret, SecretBytes(std::move(secret)));
  EXPECT_THAT(kept->records, ElementsAre(Bytes{1}, Bytes{2, 2}));
}

TEST_F(SessionJournalTest, GivesEachSessionASecretOfItsOwn) {
  SessionJournal journal = Open();
  const auto first = journal.Begin(First());
  const auto second = journal.Begin(Second());
  EXPECT_FALSE(first->round_secret == second->round_secret);
}

TEST_F(SessionJournalTest, FindsNothingOfASessionThatHasNotBegun) {
  const auto found = Open().Find(First().id);
  ASSERT_THAT(found, IsOk());
  EXPECT_FALSE(found->has_value());
}

TEST_F(SessionJournalTest, ClosesASessionWhenTheNextAttemptBegins) {
  SessionJournal journal = Open();
  ASSERT_THAT(journal.Begin(First()), IsOk());
  ASSERT_THAT(journal.Begin(Second()), IsOk());
  EXPECT_FALSE(journal.Find(First().id)->has_value());
  EXPECT_THAT(journal.Append(First().id, 0, Bytes{1}, false), HasCode(kRefused));
  EXPECT_THAT(Message(journal.Begin(First()).status()), HasSubstr("is not taken up again"));
}

TEST_F(SessionJournalTest, LeavesTheSessionsOfOtherRunsOpen) {
  SessionJournal journal = Open();
  JournalSession other = Second();
  other.run = "run-2";
  ASSERT_THAT(journal.Begin(First()), IsOk());
  ASSERT_THAT(journal.Begin(other), IsOk());
  EXPECT_TRUE(journal.Find(First().id)->has_value());
}

TEST_F(SessionJournalTest, TakesUpNothingThatWasClosed) {
  ASSERT_THAT(Open().Begin(First()), IsOk());
  ASSERT_THAT(Open().CloseRun("run-1"), IsOk());
  EXPECT_THAT(Open().Begin(First()), HasCode(kRefused));
}

TEST_F(SessionJournalTest, ClosesTheSessionsOfAllRunsButThese) {
  SessionJournal journal = Open();
  const JournalSession other{.id = Sha256Of("another's"), .run = "run-2", .round = 7};
  ASSERT_THAT(journal.Begin(First()), IsOk());
  ASSERT_THAT(journal.Append(First().id, 0, Bytes{1}, true), IsOk());
  ASSERT_THAT(journal.Begin(other), IsOk());
  ASSERT_THAT(journal.CloseAllBut({"run-2", "run-3"}), IsOk());
  EXPECT_FALSE(journal.Find(First().id)->has_value());
  EXPECT_TRUE(journal.Find(other.id)->has_value());
  EXPECT_THAT(Message(journal.Begin(Second()).status()), HasSubstr("is burnt"));
}

TEST_F(SessionJournalTest, RefusesABurntRoundForEver) {
  {
    SessionJournal journal = Open();
    ASSERT_THAT(journal.Begin(First()), IsOk());
    ASSERT_THAT(journal.Append(First().id, 0, Bytes{1}, true), IsOk());
  }
  const absl::Status burnt = Open().Begin(Second()).status();
  EXPECT_THAT(Message(burnt), HasSubstr("round 8 of run-1 is burnt"));
  EXPECT_EQ(AgreedRounds(burnt), 8);
  ASSERT_THAT(Open().CloseRun("run-1"), IsOk());
  EXPECT_THAT(Open().Begin(Second()), HasCode(kRefused));
  EXPECT_THAT(Open().Begin(First()), HasCode(kRefused));
}

// As when a second process was started on the same folder.
TEST_F(SessionJournalTest, OfTwoThatGoOnWithASessionOneAgrees) {
  SessionJournal one = Open();
  SessionJournal other = Open();
  ASSERT_THAT(one.Begin(First()), IsOk());
  ASSERT_THAT(other.Begin(First()), IsOk());
  ASSERT_THAT(one.Append(First().id, 0, Bytes{1}, true), IsOk());
  const absl::Status refused = other.Append(First().id, 0, Bytes{2}, true);
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(Message(refused), HasSubstr("another process goes on with this secure aggregation"));
  EXPECT_THAT((*one.Find(First().id))->records, ElementsAre(Bytes{1}));
  EXPECT_THAT(one.Append(First().id, 1, Bytes{3}, false), IsOk());
}

TEST_F(SessionJournalTest, RefusesARecordBeforeItsTurn) {
  SessionJournal journal = Open();
  ASSERT_THAT(journal.Begin(First()), IsOk());
  EXPECT_THAT(journal.Append(First().id, 1, Bytes{1}, true), HasCode(absl::StatusCode::kAborted));
  EXPECT_THAT(journal.Begin(Second()), IsOk()) << "nothing was agreed on";
}

TEST_F(SessionJournalTest, ABurntRoundSaysNothingOfTheNextOne) {
  SessionJournal journal = Open();
  ASSERT_THAT(journal.Begin(First()), IsOk());
  ASSERT_THAT(journal.Append(First().id, 0, Bytes{1}, true), IsOk());
  EXPECT_THAT(journal.Begin({.id = Sha256Of("next"), .run = "run-1", .round = 8}), IsOk());
}

TEST_F(SessionJournalTest, OpensWithTheSameSigningKeyOnly) {
  ASSERT_THAT(Open().Begin(First()), IsOk());
  const SigningKey other = SigningKey::Generate(CipherSuite::kCurve25519);
  EXPECT_THAT(SessionJournal::Open(path_, other)->Begin(First()),
              HasCode(absl::StatusCode::kDataLoss));
}

TEST_F(SessionJournalTest, WritesNoRecordInTheClear) {
  const std::string canary = "a record that nobody may read in a file";
  {
    SessionJournal journal = Open();
    ASSERT_THAT(journal.Begin(First()), IsOk());
    ASSERT_THAT(journal.Append(First().id, 0, SpanOf(canary), false), IsOk());
    for (const auto& file : std::filesystem::directory_iterator(folder_.path())) {
      EXPECT_THAT(*ReadFile(file.path()), Not(HasSubstr(canary))) << file.path();
    }
  }
  const auto kept = Open().Find(First().id);
  EXPECT_EQ((*kept)->records.at(0), Bytes(canary.begin(), canary.end()));
}

TEST_F(SessionJournalTest, RefusesRecordsInAnotherOrder) {
  {
    SessionJournal journal = Open();
    ASSERT_THAT(journal.Begin(First()), IsOk());
    ASSERT_THAT(journal.Append(First().id, 0, Bytes{1}, false), IsOk());
  }
  ASSERT_THAT(SqliteDatabase::OpenChecked(path_)->Execute("UPDATE records SET number = 1"), IsOk());
  EXPECT_THAT(Open().Find(First().id), HasCode(absl::StatusCode::kDataLoss));
}

// What is not zero in it, bit by bit. Else one of them would be the one that says that
// survivors were agreed on.
TEST_F(SessionJournalTest, NoFlippedBitTakesBackWhatWasAgreedOn) {
  {
    SessionJournal journal = Open();
    ASSERT_THAT(journal.Begin(First()), IsOk());
    ASSERT_THAT(journal.Append(First().id, 0, Bytes{1}, true), IsOk());
  }
  const std::string good = *ReadFile(path_);
  int tries = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    if (good[at] == 0) continue;
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ 1 << tries++ % 8);
    std::ofstream(path_, std::ios::binary) << damaged;
    auto journal = SessionJournal::Open(path_, key_);
    EXPECT_FALSE(journal.ok() && journal->Begin(Second()).ok()) << "a bit of byte " << at;
  }
  EXPECT_GT(tries, 100);
}

// As a client leaves it that is killed: all of it in the write-ahead log.
TEST_F(SessionJournalTest, NoFlippedBitInTheLogTakesBackWhatWasAgreedOn) {
  SessionJournal journal = Open();
  ASSERT_THAT(journal.Begin(First()), IsOk());
  ASSERT_THAT(journal.Append(First().id, 0, Bytes{1}, true), IsOk());
  ASSERT_THAT(journal.Append(First().id, 1, Bytes{2}, false), IsOk());
  const std::filesystem::path copy = folder_.path() / "copy.db";
  std::filesystem::copy(path_, copy);
  const std::string good = *ReadFile(path_.string() + "-wal");
  const size_t last_transaction = size_t{3} * 4120;
  constexpr size_t kLogHeader = 32;
  for (size_t at = 0; at + last_transaction < good.size(); at += at < kLogHeader ? 1 : 197) {
    for (int bit = 0; bit < (at < kLogHeader ? 8 : 1); ++bit) {
      std::string damaged = good;
      damaged[at] = static_cast<char>(damaged[at] ^ 1 << bit);
      std::ofstream(copy.string() + "-wal", std::ios::binary) << damaged;
      const auto opened = SessionJournal::Open(copy, key_);
      EXPECT_THAT(Message(opened.status()), HasSubstr("never put back an older copy"))
          << "bit " << bit << " of byte " << at;
    }
  }
}

TEST_F(SessionJournalTest, WhoeverWentBackToAnOlderProgramIsNotToldToGoBackToAnOlderFile) {
  Open();
  ASSERT_THAT(SqliteDatabase::OpenChecked(path_)->Execute("PRAGMA user_version = 99"), IsOk());
  const auto refused = SessionJournal::Open(path_, key_);
  EXPECT_THAT(refused, HasCode(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Message(refused.status()),
              EndsWith("use the newer version, and never put back an older copy"));
}

TEST_F(SessionJournalTest, OpensAFileThatHadNoChecksums) {
  ASSERT_THAT(Open().Begin(First()), IsOk());
  const std::filesystem::path older = folder_.path() / "older.db";
  ASSERT_THAT(SqliteDatabase::Open(older)->Execute(
                  "ATTACH '" + path_.string() +
                  "' AS checked;"
                  "CREATE TABLE sessions AS SELECT * FROM checked.sessions;"
                  "CREATE TABLE records AS SELECT * FROM checked.records;"
                  "PRAGMA user_version = 1"),
              IsOk());
  for (int i = 0; i < 2; ++i) {
    auto journal = SessionJournal::Open(older, key_);
    ASSERT_THAT(journal, IsOk());
    EXPECT_TRUE(journal->Find(First().id)->has_value());
  }
}

TEST_F(SessionJournalTest, ChangesNothingOnAFullDisk) {
  SessionJournal journal = Open();
  ASSERT_THAT(journal.Begin(First()), IsOk());
  ASSERT_THAT(journal.LimitPages(16), IsOk());
  EXPECT_THAT(journal.Append(First().id, 0, Bytes(1 << 20), true),
              HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT((*journal.Find(First().id))->records, IsEmpty());
  ASSERT_THAT(journal.LimitPages(1'000), IsOk());
  EXPECT_THAT(journal.Append(First().id, 0, Bytes(1 << 20), false), IsOk());
  EXPECT_THAT(journal.Begin(Second()), IsOk()) << "nothing was agreed on";
}

}  // namespace
}  // namespace fedtune
