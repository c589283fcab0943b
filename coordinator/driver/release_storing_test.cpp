// SPDX-License-Identifier: Apache-2.0

// What becomes of a run whose release cannot be stored.

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <utility>
#include <variant>

#include "coordinator/storage/forwarding_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using testing::IsOk;

const Institution kAda{"ada"};

// A store that refuses the first releases.
class RefusingStore final : public ForwardingStore {
 public:
  RefusingStore(RunStore& store, absl::Status refusal, int count)
      : ForwardingStore(store), refusal_(std::move(refusal)), left_(count) {}

  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
    return left_ > 0 && left_-- > 0 ? refusal_ : ForwardingStore::SaveRelease(id, release);
  }
  // Drafts are refused first, and those that are given cannot be kept.
  absl::StatusOr<std::unique_ptr<BlobDraft>> NewBlob(uint64_t size) override {
    if (drafts_left_ > 0 && drafts_left_-- > 0) return refusal_;
    ++drafts_;
    if (left_ > 0 && loses_drafts_) return std::make_unique<LostDraft>(size);
    return ForwardingStore::NewBlob(size);
  }
  void RefuseDrafts(int count) { drafts_left_ = count; }
  void LoseDrafts() { loses_drafts_ = true; }

  int left() const { return left_; }
  int drafts_left() const { return drafts_left_; }
  int drafts() const { return drafts_; }

 private:
  struct LostDraft final : public BlobDraftInMemory {
    using BlobDraftInMemory::BlobDraftInMemory;
    bool can_be_kept() const override { return false; }
  };

  absl::Status refusal_;
  int left_;  // Used by one release at a time, as all that follow.
  int drafts_left_ = 0;
  bool loses_drafts_ = false;
  int drafts_ = 0;
};

// A client that remembers what it was told.
class RememberingLine final : public ClientLine {
 public:
  void Send(const ClientCommand& command) override {
    const std::lock_guard lock(mutex_);
    told_.push_back(command);
    told_something_.notify_all();
  }
  void Close(absl::Status) override {}
  void Abandon(absl::Status) override {}

  // The next command of this kind; waits for it.
  template <typename T>
  T Next() {
    std::unique_lock lock(mutex_);
    while (true) {
      told_something_.wait(lock, [this] { return !told_.empty(); });
      const ClientCommand command = std::move(told_.front());
      told_.pop_front();
      if (const T* found = std::get_if<T>(&command.what)) return *found;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable told_something_;
  std::deque<ClientCommand> told_;
};

class ReleaseStoringTest : public testing::StoredRunFixture {
 protected:
  // A run of two rounds with one client, which has contributed to the first; the
  // store refuses so many times.
  void ContributeWhileRefused(absl::Status refusal, int times) {
    store_ = std::make_unique<RefusingStore>(*stored_, std::move(refusal), times);
    Contribute();
  }
  void Contribute() {
    NewProcess(*store_);
    lines_.Connect(kAda, line_);
    const auto run = Start("count = 2\nquorum = 1");
    run->Receive(kAda, RunAccepted{10});
    first_ = line_->Next<RoundAssignment>();
    ASSERT_THAT(HandIn(*run, Trained(kAda, first_.round, 1)), IsOk());
  }

  const std::shared_ptr<RememberingLine> line_ = std::make_shared<RememberingLine>();
  RoundAssignment first_;
  std::unique_ptr<RefusingStore> store_;
};

TEST_F(ReleaseStoringTest, WaitsForSpaceOnAFullDiskAndGoesOn) {
  ContributeWhileRefused(absl::ResourceExhaustedError("disk full"), 3);
  const auto second = line_->Next<RoundAssignment>();
  EXPECT_EQ(store_->left(), 0);
  EXPECT_EQ(second.round, 1);
  EXPECT_NE(second.adapter, first_.adapter);
  EXPECT_EQ(stored_->Get(kRun)->adapter, second.adapter);
}

TEST_F(ReleaseStoringTest, IsStoredAgainAsItWasMade) {
  ContributeWhileRefused(absl::ResourceExhaustedError("disk full"), 3);
  EXPECT_EQ(line_->Next<RoundAssignment>().round, 1);
  EXPECT_EQ(store_->drafts(), 2) << "of the adapter and of its optimiser's state";
}

TEST_F(ReleaseStoringTest, WaitsForSpaceForTheNextAdapter) {
  store_ = std::make_unique<RefusingStore>(*stored_, absl::ResourceExhaustedError("disk full"), 0);
  store_->RefuseDrafts(3);
  Contribute();
  EXPECT_EQ(line_->Next<RoundAssignment>().round, 1);
  EXPECT_EQ(store_->drafts_left(), 0);
}

TEST_F(ReleaseStoringTest, IsMadeAnewWhenItsDraftIsLost) {
  store_ = std::make_unique<RefusingStore>(*stored_, absl::ResourceExhaustedError("disk full"), 2);
  store_->LoseDrafts();
  Contribute();
  const auto second = line_->Next<RoundAssignment>();
  EXPECT_EQ(store_->drafts(), 6);
  EXPECT_EQ(stored_->Get(kRun)->adapter, second.adapter);
}

TEST_F(ReleaseStoringTest, WaitsForAnotherProcessThatHoldsTheStore) {
  ContributeWhileRefused(absl::UnavailableError("in use by another process"), 3);
  EXPECT_EQ(line_->Next<RoundAssignment>().round, 1);
}

TEST_F(ReleaseStoringTest, ADamagedStoreEndsTheRunWithItsReason) {
  ContributeWhileRefused(absl::DataLossError("the file is damaged"), 1);
  const auto end = line_->Next<RunEnd>();
  EXPECT_EQ(end.state, RunState::kFailed);
  EXPECT_THAT(end.reason, ::testing::HasSubstr("the file is damaged"));
}

}  // namespace
}  // namespace fedtune
