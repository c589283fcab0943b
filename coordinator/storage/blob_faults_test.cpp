// SPDX-License-Identifier: Apache-2.0

// Adapters in files, on a disk that fails at each call in turn: a blob is there wholly
// or not at all, and a release with its blob or not at all.

#include <cerrno>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "coordinator/storage/backup.h"
#include "coordinator/storage/blob_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "coordinator/storage/state_database.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/lossy_disk.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using ::testing::AnyOf;
using testing::HasCode;
using ::testing::IsEmpty;
using testing::IsOk;
using testing::LossyDisk;
using testing::TemporaryDirectory;

constexpr uint64_t kSeeds = 8;
const absl::Time kNow = absl::FromUnixSeconds(1'795'000'000);
const RunId kRun{"run-0001"};

std::span<const std::byte> AsBytes(std::string_view text) { return std::as_bytes(std::span(text)); }

constexpr size_t kManySectors = 100'000;
constexpr size_t kTooLargeForTheDatabase = size_t{5} << 20;

std::string Content(char letter, size_t size) {
  std::string content(size, letter);
  for (size_t i = 0; i < content.size(); i += 100) content[i] = static_cast<char>(i / 100 % 120);
  return content;
}

class BlobFaultsTest : public ::testing::Test {
 protected:
  BlobFaultsTest() {
    EXPECT_THAT(Put(), IsOk());
    operations_ = disk_.operations();
    EXPECT_GE(operations_, 4);  // Written, synced, renamed, its folder synced.
    Clear();
  }

  absl::Status Put() {
    auto store = BlobStore::Open(folder_);
    return store.ok() ? store->Put(digest_, AsBytes(content_)) : store.status();
  }
  void Clear() {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directory(folder_);
    ASSERT_THAT(SyncDirectory(folder_), IsOk());
    disk_.Heal();
  }
  void ExpectWhole(bool may_be_missing) const {
    const auto blob = BlobStore::Open(folder_)->Get(digest_);
    if (may_be_missing && absl::IsNotFound(blob.status())) return;
    ASSERT_THAT(blob, IsOk());
    EXPECT_EQ(Sha256Of(blob->bytes()), digest_);
  }

  const TemporaryDirectory directory_;
  const std::filesystem::path folder_ = directory_.path();
  LossyDisk disk_{folder_};
  const std::string content_ = Content('a', kManySectors);
  const Digest digest_ = Sha256Of(content_);
  int64_t operations_ = 0;
};

TEST_F(BlobFaultsTest, APowerCutLeavesAllOfItOrNothing) {
  for (int64_t k = 0; k <= operations_; ++k) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      SCOPED_TRACE(fmt::format("call {} of {}, seed {}", k, operations_, seed));
      disk_.DieAt(k);
      const bool stored = Put().ok();
      EXPECT_EQ(stored, k == operations_);
      disk_.CutPower(seed);
      ExpectWhole(!stored);
      Clear();
    }
  }
}

// The next process believes what is there; it must last from then on.
TEST_F(BlobFaultsTest, WhatAKilledProcessHasLeftSurvivesAPowerCutOnceItIsAcknowledged) {
  for (int64_t k = 0; k < operations_; ++k) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      SCOPED_TRACE(fmt::format("call {} of {}, seed {}", k, operations_, seed));
      disk_.DieAt(k);
      EXPECT_FALSE(Put().ok());
      disk_.Heal();
      ASSERT_THAT(Put(), IsOk());
      disk_.CutPower(seed);
      ExpectWhole(false);
      Clear();
    }
  }
}

TEST_F(BlobFaultsTest, AFullDiskAndAFailedOneAreToldApart) {
  for (int64_t k = 0; k < operations_; ++k) {
    SCOPED_TRACE(fmt::format("call {} of {}", k, operations_));
    disk_.FailAt(k, ENOSPC);
    EXPECT_THAT(Put(), HasCode(absl::StatusCode::kResourceExhausted));
    disk_.Heal();
    EXPECT_THAT(Put(), IsOk());
    Clear();
    disk_.FailAt(k, EIO);
    EXPECT_THAT(Put(), HasCode(absl::StatusCode::kInternal));
    Clear();
  }
}

// What a sync that failed has left nobody knows: it is not tried again.
TEST_F(BlobFaultsTest, ADraftWhoseSyncHasFailedIsToBeMadeAnew) {
  BlobStore store = *BlobStore::Open(folder_);
  const auto draft = *store.NewDraft(content_.size(), [](absl::Status status) { return status; });
  ASSERT_THAT(draft->Write(0, AsBytes(content_)), IsOk());
  disk_.FailAt(0, ENOSPC);
  EXPECT_THAT(draft->Keep(digest_), HasCode(absl::StatusCode::kResourceExhausted));
  disk_.Heal();
  EXPECT_FALSE(draft->can_be_kept());
  EXPECT_THAT(draft->Keep(digest_), HasCode(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(disk_.operations(), 0);
  EXPECT_THAT(store.Get(digest_), HasCode(absl::StatusCode::kNotFound));
}

// A run store whose database is on a good disk, and whose blobs are not; with a release
// that is written there as a whole, and one that is made there piece by piece.
class BlobOfAReleaseTest : public ::testing::TestWithParam<bool> {
 protected:
  BlobOfAReleaseTest() {
    Begin();
    disk_->Heal();
    EXPECT_THAT(Release(), IsOk());
    operations_ = disk_->operations();
    EXPECT_GE(operations_, 4);
  }

  // A new state directory with a run in it.
  void Begin() {
    Close();
    folder_ = directory_.path() / std::to_string(++folders_);
    std::filesystem::create_directories(folder_ / kBlobsName);
    disk_ = std::make_unique<LossyDisk>(folder_ / kBlobsName);
    Open();
    RunRecord run;
    run.id = kRun;
    run.started_at = kNow;
    run.initial_adapter = run.adapter = Sha256Of(initial_);
    ASSERT_THAT(runs_->Insert(run, {}, AsBytes(initial_)), IsOk());
  }
  void Open() {
    state_ = *OpenStateDatabase(folder_ / kDatabaseName, [this](const absl::Status&) { ++ends_; });
    runs_ = *SqliteRunStore::Open(state_, {.blobs = folder_ / kBlobsName});
  }
  void Close() {
    runs_.reset();
    state_.reset();
  }
  void CutPower(uint64_t seed) {
    Close();
    disk_->CutPower(seed);
    Open();
  }

  absl::Status Release() {
    NewRelease release;
    release.record.started_at = release.record.ended_at = kNow;
    release.record.adapter = Sha256Of(next_);
    release.adapter = AsBytes(next_);
    if (!GetParam()) return runs_->SaveRelease(kRun, release);
    ASSIGN_OR_RETURN(const auto draft, runs_->NewBlob(next_.size()));
    const size_t half = next_.size() / 2;
    RETURN_IF_ERROR(draft->Write(half, release.adapter.subspan(half)));
    RETURN_IF_ERROR(draft->Write(0, release.adapter.first(half)));
    EXPECT_EQ(draft->TakeDigest(), release.record.adapter);
    release.adapter_draft = draft.get();
    return runs_->SaveRelease(kRun, release);
  }

  void ExpectRounds(int64_t done) {
    const auto run = runs_->Get(kRun);
    ASSERT_THAT(run, IsOk());
    EXPECT_EQ(run->rounds_done, done);
    const auto blob = runs_->GetBlob(run->adapter);
    ASSERT_THAT(blob, IsOk());
    EXPECT_EQ(Sha256Of(blob->bytes()), run->adapter);
    EXPECT_THAT(Problems(), IsEmpty());
  }
  std::vector<std::string> Problems() {
    const auto report = CheckState(folder_);
    EXPECT_THAT(report, IsOk());
    return report.ok() ? report->problems : std::vector<std::string>();
  }

  const TemporaryDirectory directory_;
  const std::string initial_ = Content('i', kTooLargeForTheDatabase);
  const std::string next_ = Content('n', kTooLargeForTheDatabase);
  int folders_ = 0;
  int ends_ = 0;
  std::filesystem::path folder_;
  std::unique_ptr<LossyDisk> disk_;
  std::shared_ptr<StateDatabase> state_;
  std::unique_ptr<RunStore> runs_;
  int64_t operations_ = 0;
};

TEST_P(BlobOfAReleaseTest, APowerCutLeavesTheOldReleaseOrTheNew) {
  for (int64_t k = 0; k <= operations_; ++k) {
    SCOPED_TRACE(fmt::format("call {} of {}", k, operations_));
    Begin();
    disk_->DieAt(k);
    const bool stored = Release().ok();
    EXPECT_EQ(stored, k == operations_);
    CutPower(static_cast<uint64_t>(k));
    ExpectRounds(stored ? 1 : 0);
    EXPECT_EQ(Release().ok(), !stored) << "a round is released once";
    CutPower(static_cast<uint64_t>(k));
    ExpectRounds(1);
  }
}

TEST_P(BlobOfAReleaseTest, AnIoErrorEndsTheStoreAndTheNextProcessReleases) {
  for (int64_t k = 0; k < operations_; ++k) {
    SCOPED_TRACE(fmt::format("call {} of {}", k, operations_));
    Begin();
    ends_ = 0;
    disk_->FailAt(k, EIO);
    EXPECT_THAT(Release(), HasCode(absl::StatusCode::kUnavailable));
    EXPECT_EQ(ends_, 1);
    EXPECT_THAT(Release(), HasCode(absl::StatusCode::kUnavailable)) << "it is not asked again";
    CutPower(static_cast<uint64_t>(k));
    ExpectRounds(0);
    ASSERT_THAT(Release(), IsOk());
    ExpectRounds(1);
  }
}

// As a file system becomes that has found damage, until somebody has seen to it.
TEST_P(BlobOfAReleaseTest, ADiskThatBecomesReadOnlyEndsTheStoreToo) {
  for (int64_t k = 0; k < operations_; ++k) {
    SCOPED_TRACE(fmt::format("call {} of {}", k, operations_));
    Begin();
    ends_ = 0;
    disk_->FailAt(k, EROFS);
    EXPECT_THAT(Release(), HasCode(absl::StatusCode::kUnavailable));
    EXPECT_EQ(ends_, 1);
    CutPower(static_cast<uint64_t>(k));
    ASSERT_THAT(Release(), IsOk());
    ExpectRounds(1);
  }
}

TEST_P(BlobOfAReleaseTest, SoDoesAFolderThatIsGone) {
  Begin();
  ends_ = 0;
  const std::filesystem::path aside = folder_ / "aside";
  std::filesystem::rename(folder_ / kBlobsName, aside);
  EXPECT_THAT(Release(), HasCode(absl::StatusCode::kUnavailable));
  EXPECT_EQ(ends_, 1);
  Close();
  std::filesystem::rename(aside, folder_ / kBlobsName);
  Open();
  ASSERT_THAT(Release(), IsOk());
  ExpectRounds(1);
}

TEST_P(BlobOfAReleaseTest, OnAFullDiskTheReleaseWaits) {
  for (int64_t k = 0; k < operations_; ++k) {
    SCOPED_TRACE(fmt::format("call {} of {}", k, operations_));
    Begin();
    disk_->FailAt(k, ENOSPC);
    EXPECT_THAT(Release(), HasCode(absl::StatusCode::kResourceExhausted));
    ExpectRounds(0);
    ASSERT_THAT(Release(), IsOk());
    CutPower(static_cast<uint64_t>(k));
    ExpectRounds(1);
  }
}

TEST_P(BlobOfAReleaseTest, WhatALyingDiskHasLostIsNamed) {
  int64_t lost = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    Begin();
    disk_->LoseSyncs();
    ASSERT_THAT(Release(), IsOk());
    CutPower(seed);
    const auto blob = runs_->GetBlob(Sha256Of(next_));
    const bool whole = blob.ok() && Sha256Of(blob->bytes()) == Sha256Of(next_);
    EXPECT_EQ(Problems().empty(), whole);
    lost += whole ? 0 : 1;
  }
  EXPECT_GT(lost, 2);
}

INSTANTIATE_TEST_SUITE_P(AtOnceAndInPieces, BlobOfAReleaseTest, ::testing::Bool());

}  // namespace
}  // namespace fedtune
