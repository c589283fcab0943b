// SPDX-License-Identifier: Apache-2.0

// For the driver's tests: the parts of a coordinator with a store on the disk, and
// a small run of federated averaging in it.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "aggregation/adapter_bytes.h"
#include "coordinator/driver/active_runs.h"
#include "coordinator/driver/run_parts.h"
#include "coordinator/storage/sqlite_federation_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tiny_plan.h"

namespace fedtune::testing {

// A client that is told things and says nothing.
class SilentLine final : public ClientLine {
 public:
  void Send(const ClientCommand&) override {}
  void Close(absl::Status) override {}
  void Abandon(absl::Status) override {}
};

class StoredRunFixture : public ::testing::Test {
 protected:
  static constexpr size_t kValues = 5;  // Of the adapter.

  void TearDown() override {
    if (runs_ != nullptr) runs_->Shutdown();
  }

  // As the process does at its start; another one before has no part in what comes.
  void NewProcess(RunStore& store) {
    if (runs_ != nullptr) runs_->Shutdown();
    runs_ = std::make_unique<ActiveRuns>(ActiveRuns::Parts{.store = store,
                                                           .spool = spool_,
                                                           .lines = lines_,
                                                           .clock = clock_,
                                                           .log = log_,
                                                           .store_again = absl::Milliseconds(1)},
                                         ActiveRuns::Threads(clock_));
  }

  void Connect(const Institution& client) {
    lines_.Connect(client, std::make_shared<SilentLine>());
  }

  absl::StatusOr<RunParts> PartsOf(const TinyPlan& plan,
                                   std::string base_model_json = TinyModelJson()) {
    return PartsOfNewRun({.request_id = "first",
                          .plan_toml = TinyPlanToml(plan),
                          .base_model_json = std::move(base_model_json),
                          .started_by = "grace"},
                         kRun, catalogue_, clock_.Now());
  }
  std::shared_ptr<RunDriver> Start(std::string_view rounds) {
    return *runs_->Start(*PartsOf({.rounds = rounds}));
  }

  // What this client has trained for a round of the run, come whole: the same value
  // everywhere, or these.
  HandedIn Trained(const Institution& from, int64_t round, float value) {
    return Trained(from, round, std::vector<float>(kValues, value));
  }
  HandedIn Trained(const Institution& from, int64_t round, const std::vector<float>& values) {
    const std::shared_ptr<RunDriver> run = runs_->Find(kRun);
    const RunOverview overview = run->overview();
    const ContributionHeader header{.round = round,
                                    .attempt = overview.view.attempt,
                                    .adapter = overview.record.adapter,
                                    .layout = Sha256Of(run->layout().ToJson()),
                                    .factors = static_cast<uint32_t>(FactorSet::kBoth),
                                    .size_bytes = values.size() * sizeof(float),
                                    .sha256 = Sha256Of(ValueBytes(values))};
    ContributionBuffer buffer =
        *ContributionBuffer::Create(header, *SpooledBytes::Create(run->pack(), header.size_bytes));
    EXPECT_THAT(buffer.Append(0, ValueBytes(values)), IsOk());
    return {.from = from, .header = header, .what = *std::move(buffer).Finish()};
  }

  // What becomes of it when it comes by itself.
  static absl::Status HandIn(RunDriver& run, HandedIn handed) {
    HandedIn* const one = &handed;
    run.Take({&one, 1});
    return handed.outcome->status();
  }

  const RunId kRun{"run-0001"};
  const TemporaryDirectory directory_;
  const std::shared_ptr<StateDatabase> state_ =
      *OpenStateDatabase(directory_.path() / "fedtune.sqlite");
  const std::unique_ptr<RunStore> stored_ =
      *SqliteRunStore::Open(state_, {.blobs = directory_.path() / "blobs"});
  const Spool spool_ = *Spool::Open(directory_.path() / "spool");
  SqliteFederationStore catalogue_{state_};
  const SystemClock clock_ = {};
  Log log_;
  ClientLines lines_;
  std::unique_ptr<ActiveRuns> runs_;
};

}  // namespace fedtune::testing
