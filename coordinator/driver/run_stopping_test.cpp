// SPDX-License-Identifier: Apache-2.0

// A run whose stop was acknowledged is stopped, whatever the disk and the process do then.

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/storage/forwarding_store.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/stored_run.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

const Institution kAda{"ada"};
constexpr auto kFull = absl::StatusCode::kResourceExhausted;

// A store with no space for what its fields say.
class FullStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  absl::Status RequestStop(const RunId& id, const std::string& reason) override {
    if (refuses_stops) return absl::ResourceExhaustedError("disk full");
    return ForwardingStore::RequestStop(id, reason);
  }
  absl::Status End(const RunId& id, const RunEnding& ending) override {
    if (refuses_ends) return absl::ResourceExhaustedError("disk full");
    if (on_end) on_end();
    return ForwardingStore::End(id, ending);
  }

  bool refuses_stops = false;
  bool refuses_ends = false;
  std::function<void()> on_end;
};

class RunStoppingTest : public testing::StoredRunFixture {
 protected:
  RunStoppingTest() {
    Connect(kAda);
    NewProcess(store_);
    run_ = Start("count = 2\nquorum = 1");
    run_->Receive(kAda, RunAccepted{10});
  }

  // An upload begins, which a round has admitted a moment before.
  absl::Status Begins(uint64_t bytes) const {
    return SpooledBytes::CreateOrGoOn(run_->pack(), "0-1-ada", Sha256Of("ada"), bytes).status();
  }

  FullStore store_{*stored_};
  std::shared_ptr<RunDriver> run_;  // Also when it has ended.
};

TEST_F(RunStoppingTest, AStopThatCannotBeStoredIsRefusedAndTheRunGoesOn) {
  store_.refuses_stops = true;
  EXPECT_THAT(run_->Stop("wrong data"), HasCode(kFull));
  EXPECT_EQ(run_->overview().view.state, RunState::kRunning);
  store_.refuses_stops = false;
  EXPECT_THAT(run_->Stop("wrong data"), IsOk());
  EXPECT_EQ(run_->overview().view.state, RunState::kStopped);
}

TEST_F(RunStoppingTest, AProcessThatEndsBeforeItStoresTheEndDoesNotUndoTheStop) {
  store_.refuses_ends = true;
  ASSERT_THAT(run_->Stop("wrong data"), IsOk());
  NewProcess(store_);
  store_.refuses_ends = false;
  ASSERT_EQ(stored_->Get(kRun)->state, RunState::kRunning);
  ASSERT_THAT(runs_->ResumeAll(), IsOk());
  EXPECT_EQ(stored_->Get(kRun)->state, RunState::kStopped);
  EXPECT_EQ(stored_->Get(kRun)->reason, "wrong data");
}

TEST_F(RunStoppingTest, AnUploadThatBeginsAsTheRunEndsLeavesNothingOnTheDisk) {
  ASSERT_THAT(run_->Stop("wrong data"), IsOk());
  for (const uint64_t bytes : {uint64_t{1} << 10, uint64_t{8} << 20}) {
    EXPECT_THAT(Begins(bytes), HasCode(absl::StatusCode::kUnavailable)) << bytes;
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path() / "spool"));
}

TEST_F(RunStoppingTest, NoneBeginsOnceTheEndIsBeingStored) {
  absl::Status small;
  absl::Status large;
  store_.on_end = [&] {
    small = Begins(uint64_t{1} << 10);
    large = Begins(uint64_t{8} << 20);
  };
  ASSERT_THAT(run_->Stop("wrong data"), IsOk());
  EXPECT_THAT(small, HasCode(absl::StatusCode::kUnavailable));
  EXPECT_THAT(large, HasCode(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace fedtune
