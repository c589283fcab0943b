// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/storage/run_store.h"
#include "coordinator/storage/sqlite_run_store.h"
#include "gtest/gtest.h"
#include "tests/support/temporary_directory.h"

namespace fedtune::testing {

inline constexpr absl::Time kStart = absl::FromUnixMillis(1'800'000'000'123);
inline const Institution kAda{"ada"};
inline const Institution kBea{"bea"};

inline std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

// The bytes of the adapter that `round` left; large ones lie in a folder.
inline std::string AdapterText(int64_t round, size_t size) {
  std::string text = std::to_string(round);
  text.resize(size, '.');
  return text;
}

// A store, for blobs inside the database and blobs in a folder, and what is put into it.
class RunStoreFixture : public ::testing::TestWithParam<size_t> {
 protected:
  RunStoreFixture() { Reopen(); }

  void Reopen() {
    store_.reset();
    store_ = *SqliteRunStore::Open(*OpenStateDatabase(directory_.path() / "fedtune.sqlite"),
                                   {.blobs = directory_.path() / "blobs", .keep_adapters = 2});
  }

  std::string Adapter(int64_t round) const { return AdapterText(round, GetParam()); }

  RunRecord NewRun(const std::string& id) const {
    RunRecord run;
    run.id = {id};
    run.request_id = "request of " + id;
    run.plan_name = "icd10";
    run.plan_toml = "name = \"icd10\"";
    run.layout_json = "{}";
    run.base_model_json = "{}";
    run.base_model = "tiny";
    run.base_digest = "sha256:00";
    run.started_by = "grace";
    run.round_count = 3;
    run.started_at = kStart;
    run.initial_adapter = Sha256Of(Adapter(-1));
    run.adapter = run.initial_adapter;
    run.adapter_bytes = GetParam();
    return run;
  }

  absl::Status InsertRun() {
    const std::string adapter = Adapter(-1);
    return store_->Insert(run_, {}, AsBytes(adapter));
  }

  absl::Status SaveRelease(int64_t round, std::optional<int64_t> oldest_wanted = std::nullopt) {
    const std::string adapter = Adapter(round);
    const std::string state = "state " + adapter;
    NewRelease release{.record = Release(round),
                       .contributions = {Contribution(kAda), Contribution(kBea)},
                       .adapter = AsBytes(adapter),
                       .optimizer_state = AsBytes(state),
                       .traffic = {.bytes_received = 10, .bytes_sent = 20},
                       .oldest_wanted = oldest_wanted};
    return store_->SaveRelease(run_.id, release);
  }

  absl::Status End(RunState state) {
    return store_->End(run_.id, {.state = state,
                                 .reason = "over",
                                 .ended_at = kStart,
                                 .clients = {},
                                 .last_evaluation = {},
                                 .traffic = {}});
  }

  ReleaseRecord Release(int64_t round) const {
    ReleaseRecord record;
    record.summary = {.round = round,
                      .attempt = 2,
                      .contributions = 2,
                      .example_count = 30,
                      .training_loss = 1.5,
                      .evaluation = {}};
    if (round == 0) {
      record.summary.evaluation =
          EvaluationSummary{.round = 0, .loss = 2.5, .accuracy = 0.25, .example_count = 12};
    }
    if (round == 1) {
      record.summary.routed = {.experts = 3, .counts = {int64_t{1} << 61, 0, 7, 1, 2, 255}};
      record.summary.burnt = "too few clients agreed";
    }
    record.adapter = Sha256Of(Adapter(round));
    record.started_at = kStart + absl::Seconds(round);
    record.ended_at = record.started_at + absl::Milliseconds(7);
    return record;
  }

  static ContributionRecord Contribution(const Institution& institution) {
    ContributionRecord contribution;
    contribution.institution = institution;
    contribution.weight = 15;
    contribution.example_count = 15;
    contribution.metrics.after = EvaluationResult{.loss = 1, .accuracy = {}, .example_count = 3};
    return contribution;
  }

  bool HasBlob(int64_t round) const { return store_->GetBlob(Sha256Of(Adapter(round))).ok(); }

  bool HasOptimizerState(int64_t round) const {
    return store_->GetBlob(Sha256Of("state " + Adapter(round))).ok();
  }

  const TemporaryDirectory directory_;
  std::unique_ptr<RunStore> store_;
  const RunRecord run_ = NewRun("run-0001");
};

}  // namespace fedtune::testing
