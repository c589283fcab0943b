// SPDX-License-Identifier: Apache-2.0

// What an institution has to remember of its secure aggregations, on a disk that fails
// at each of its writes in turn: what it was told is stored survives a power cut, so that
// it never says a thing two ways.

#include <filesystem>
#include <optional>
#include <vector>

#include "client/storage/session_journal.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fault_vfs.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using testing::FaultVfs;
using testing::HasCode;
using testing::IsOk;
using Fault = FaultVfs::Fault;
using Survivors = FaultVfs::Survivors;

FaultVfs& Disk() { return FaultVfs::Install(); }

JournalSession First() { return {.id = Sha256Of("attempt 1"), .run = "run-1", .round = 7}; }
JournalSession Second() { return {.id = Sha256Of("attempt 2"), .run = "run-1", .round = 7}; }

const std::vector<Bytes> kRecords = {Bytes(10, 1), Bytes(7000, 2), Bytes(40, 3)};

// How far an institution has come, as it was told.
struct Told {
  std::optional<Bytes> secret;  // The session has begun.
  size_t records = 0;           // The last one: survivors are agreed on.
};

class SessionJournalFaultsTest : public ::testing::Test {
 protected:
  SessionJournalFaultsTest() {
    Disk().Heal();
    Disk().Arm(Fault::kNone, 0);
    EXPECT_EQ(Work().records, kRecords.size());
    writes_ = Disk().writes();
    EXPECT_GT(writes_, 10);
    Remove();
  }

  void Remove() { std::filesystem::remove_all(folder_.path() / "disk"); }

  absl::StatusOr<SessionJournal> Open() const {
    std::filesystem::create_directory(folder_.path() / "disk");
    return SessionJournal::Open(folder_.path() / "disk" / "sessions.db", key_);
  }

  // Until something fails.
  Told Work() const {
    Told told;
    auto journal = Open();
    if (!journal.ok()) return told;
    const auto kept = journal->Begin(First());
    if (!kept.ok()) return told;
    told.secret.emplace(kept->round_secret.Reveal().begin(), kept->round_secret.Reveal().end());
    for (const Bytes& record : kRecords) {
      const bool agreed = told.records + 1 == kRecords.size();
      if (!journal->Append(First().id, static_cast<int64_t>(told.records), record, agreed).ok())
        return told;
      ++told.records;
    }
    return told;
  }

  // The next process: it knows all that the last one was told, and may know one thing more.
  void ExpectKnown(const Told& told) const {
    auto journal = Open();
    ASSERT_THAT(journal, IsOk());
    const auto kept = journal->Find(First().id);
    ASSERT_THAT(kept, IsOk());
    if (!told.secret.has_value()) return;
    ASSERT_TRUE(kept->has_value());
    EXPECT_EQ((*kept)->round_secret, SecretBytes(Bytes(*told.secret)));
    ASSERT_GE((*kept)->records.size(), told.records);
    ASSERT_LE((*kept)->records.size(), told.records + 1);
    for (size_t i = 0; i < (*kept)->records.size(); ++i) {
      EXPECT_EQ((*kept)->records[i], kRecords[i]);
    }
    if (told.records == kRecords.size()) {
      EXPECT_THAT(journal->Begin(Second()), HasCode(absl::StatusCode::kFailedPrecondition))
          << "survivors were agreed on in this round";
    }
  }

  // With a fault at the k-th write, and a power cut at the end.
  void ExpectKnownAfter(Fault fault, int64_t k, Survivors survivors) {
    SCOPED_TRACE(fmt::format("write {} of {}", k, writes_));
    Disk().Arm(fault, k);
    const Told told = Work();
    Disk().Heal();
    Disk().CutPower(survivors);
    ExpectKnown(told);
    Remove();
  }

  const testing::TemporaryDirectory folder_;
  const SigningKey key_ = SigningKey::Generate(CipherSuite::kCurve25519);
  int64_t writes_ = 0;
};

TEST_F(SessionJournalFaultsTest, WhatWasStoredSurvivesAPowerCut) {
  for (int64_t k = 0; k <= writes_; ++k) {
    for (const Survivors survivors : {Survivors::kAll, Survivors::kNone, Survivors::kEveryOther}) {
      ExpectKnownAfter(Fault::kCrash, k, survivors);
      ExpectKnownAfter(Fault::kTornCrash, k, survivors);
    }
  }
}

TEST_F(SessionJournalFaultsTest, WhatWasStoredIsThereAfterAnIoErrorAndOnAFullDisk) {
  for (int64_t k = 0; k < writes_; ++k) {
    for (const Fault fault : {Fault::kIoError, Fault::kFull}) {
      ExpectKnownAfter(fault, k, Survivors::kNone);
    }
  }
}

}  // namespace
}  // namespace fedtune
