// SPDX-License-Identifier: Apache-2.0

// A run whose stop was acknowledged is stopped, whatever the disk and the process do then.

#include <memory>
#include <optional>
#include <string>

#include "coordinator/driver/active_runs.h"
#include "coordinator/driver/run_parts.h"
#include "coordinator/storage/forwarding_store.h"
#include "coordinator/storage/sqlite_federation_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;
using testing::TemporaryDirectory;
using testing::TinyModelJson;

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
    return ForwardingStore::End(id, ending);
  }

  bool refuses_stops = false;
  bool refuses_ends = false;
};

class SilentLine final : public ClientLine {
 public:
  void Send(const ClientCommand&) override {}
  void Close(absl::Status) override {}
};

class RunStoppingTest : public ::testing::Test {
 protected:
  RunStoppingTest() {
    roster_.Connect({"ada"}, std::make_shared<SilentLine>());
    NewProcess();
    run_ = *runs_->Start(*PartsOfNewRun({.request_id = "first",
                                         .plan_toml = kPlan,
                                         .base_model_json = TinyModelJson(),
                                         .started_by = "grace"},
                                        kRun, catalogue_, clock_.Now()));
    run_->Receive({"ada"}, RunAccepted{10});
  }
  ~RunStoppingTest() override { runs_->Shutdown(); }

  // The one before has no part in what comes.
  void NewProcess() {
    run_ = nullptr;
    if (runs_ != nullptr) runs_->Shutdown();
    runs_ = std::make_unique<ActiveRuns>(store_, spool_, roster_, nullptr, clock_, log_);
  }

  static constexpr char kPlan[] = R"(name = "icd10"
base_model = "tiny"
[adapter]
rank = 1
targets = ["q_proj"]
[training]
steps = 1
[rounds]
count = 2
quorum = 1
[aggregation]
mode = "plain"
method = "fedit"
)";
  const RunId kRun{"run-0001"};

  const TemporaryDirectory directory_;
  const std::shared_ptr<StateDatabase> state_ =
      *OpenStateDatabase(directory_.path() / "fedtune.sqlite");
  const std::unique_ptr<RunStore> stored_ =
      *SqliteRunStore::Open(state_, {.blobs = directory_.path() / "blobs"});
  FullStore store_{*stored_};
  const Spool spool_ = *Spool::Open(directory_.path() / "spool");
  const SqliteFederationStore catalogue_{state_};
  const SystemClock clock_ = {};
  Log log_;
  Roster roster_;
  std::unique_ptr<ActiveRuns> runs_;
  std::shared_ptr<RunDriver> run_;
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
  NewProcess();
  store_.refuses_ends = false;
  ASSERT_EQ(stored_->Get(kRun)->state, RunState::kRunning);
  ASSERT_THAT(runs_->ResumeAll(), IsOk());
  EXPECT_EQ(stored_->Get(kRun)->state, RunState::kStopped);
  EXPECT_EQ(stored_->Get(kRun)->reason, "wrong data");
}

}  // namespace
}  // namespace fedtune
