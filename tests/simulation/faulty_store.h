// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "coordinator/storage/forwarding_store.h"
#include "tests/simulation/auditor.h"
#include "tests/simulation/ground.h"

namespace fedtune::simulation {

// The coordinator's disk with its faults: full, held by another process, and a process
// that ends before or after a change. Nothing is changed by half.
class FaultyStore final : public ForwardingStore {
 public:
  // All must outlive it. `end_at_times` is called where a process may end, and throws
  // ProcessEnded if it does.
  FaultyStore(Ground& ground, Auditor& auditor, RunStore& disk,
              std::function<void(std::string_view where)> end_at_times)
      : ForwardingStore(disk),
        ground_(ground),
        auditor_(auditor),
        end_at_times_(std::move(end_at_times)) {}

  void Fill(absl::Duration how_long);
  void Hold(absl::Duration how_long);

  // The process has lived on after what it added.
  void LivesOn() { has_just_added_ = false; }

  // A process begins after another one. True: that one was to open a journal, or may have
  // ended an attempt with what it added last.
  bool BeginProcess() {
    const bool may_be_over = is_to_open_ || has_just_added_;
    is_to_open_ = has_just_added_ = false;
    return may_be_over;
  }

  absl::Status Insert(const RunRecord& run, const std::vector<ClientView>& clients,
                      std::span<const std::byte> adapter) override;
  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override;
  absl::Status SaveClients(const RunId& id, const std::vector<ClientView>& clients) override;
  absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) override;
  absl::Status AppendToJournal(const RunId& id, const std::vector<std::string>& entries) override;
  absl::Status SetPause(const RunId& id, const std::optional<std::string>& reason) override;
  absl::Status RequestStop(const RunId& id, const std::string& reason) override;
  absl::Status End(const RunId& id, const RunEnding& ending) override;
  absl::Status Reopen(const RunId& id, std::string_view entry) override;

 private:
  absl::Status Change(std::string_view what, const std::function<absl::Status()>& change);

  Ground& ground_;
  Auditor& auditor_;
  const std::function<void(std::string_view where)> end_at_times_;
  absl::Duration full_until_ = absl::ZeroDuration();
  absl::Duration held_until_ = absl::ZeroDuration();
  bool is_to_open_ = false;      // A journal, when the disk takes it.
  bool has_just_added_ = false;  // To the journal, and its process may have ended at that.
};

}  // namespace fedtune::simulation
