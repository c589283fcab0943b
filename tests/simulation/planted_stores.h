// SPDX-License-Identifier: Apache-2.0

// Planted bugs that are stores: each stands before the coordinator's disk, and forgets,
// delays or changes something.

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "coordinator/driver/release/global_adapter.h"
#include "coordinator/rounds/round_journal.h"
#include "coordinator/storage/forwarding_store.h"

namespace fedtune::simulation {

class PlantedStore : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  // The coordinator's process has ended: what is not on the disk is lost.
  virtual void ProcessEnds() {}
};

// A release with all that it points to.
struct KeptRelease {
  KeptRelease(RunId its_run, const NewRelease& its_release)
      : run(std::move(its_run)),
        adapter(its_release.adapter.begin(), its_release.adapter.end()),
        optimizer_state(its_release.optimizer_state.begin(), its_release.optimizer_state.end()),
        release(its_release) {
    release.adapter = adapter;
    release.optimizer_state = optimizer_state;
    release.adapter_draft = release.state_draft = nullptr;
  }
  KeptRelease(const KeptRelease&) = delete;
  KeptRelease& operator=(const KeptRelease&) = delete;

  RunId run;
  std::vector<std::byte> adapter;
  std::vector<std::byte> optimizer_state;
  NewRelease release;
};

inline bool IsContribution(const std::string& bytes) {
  const absl::StatusOr<JournalEntry> entry = JournalEntryFromBytes(bytes);
  const auto* received = std::get_if<ReceivedFromClient>(&entry->what);
  return received != nullptr && std::holds_alternative<ContributionTaken>(received->event);
}

// The coordinator tells of a release before it is on the disk: it gets there with
// the next change only.
struct SendsFirst final : PlantedStore {
  using PlantedStore::PlantedStore;
  void ProcessEnds() override { unwritten.reset(); }
  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
    Write();
    unwritten = std::make_unique<KeptRelease>(id, release);
    return absl::OkStatus();
  }
  absl::Status SaveClients(const RunId& id, const std::vector<ClientView>& clients) override {
    Write();
    return ForwardingStore::SaveClients(id, clients);
  }
  absl::Status End(const RunId& id, const RunEnding& ending) override {
    Write();
    return ForwardingStore::End(id, ending);
  }
  void Write() {
    if (unwritten == nullptr) return;
    Check(disk().SaveRelease(unwritten->run, unwritten->release).ok(), "the disk takes it");
    unwritten.reset();
  }
  std::unique_ptr<KeptRelease> unwritten;
};

// A new process does not know that the round was under way.
struct ForgetsTheAttempt final : PlantedStore {
  using PlantedStore::PlantedStore;
  absl::StatusOr<RunRecord> Get(const RunId& id) const override {
    auto record = ForwardingStore::Get(id);
    if (record.ok() && record->state == RunState::kRunning) {
      record->state = RunState::kInviting;
      record->attempts_opened = 0;
    }
    return record;
  }
  absl::StatusOr<std::vector<std::string>> Journal(const RunId&) const override {
    return std::vector<std::string>();
  }
};

// A new process does not know which contributions have been taken.
struct ForgetsContributions final : PlantedStore {
  using PlantedStore::PlantedStore;
  absl::StatusOr<std::vector<std::string>> Journal(const RunId& id) const override {
    std::vector<std::string> entries = *ForwardingStore::Journal(id);
    std::erase_if(entries, IsContribution);
    return entries;
  }
};

// Of several contributions that are taken together the first one is stored.
struct StoresTheFirstOfSeveral final : PlantedStore {
  using PlantedStore::PlantedStore;
  void ProcessEnds() override { left_out = 0; }
  absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) override {
    left_out = 0;
    return ForwardingStore::OpenJournal(id, attempt, entry);
  }
  absl::Status AppendToJournal(const RunId& id, const std::vector<std::string>& entries) override {
    std::vector<std::string> stored;
    bool has_one = false;
    for (const std::string& bytes : entries) {
      if (IsContribution(bytes) && std::exchange(has_one, true)) {
        ++left_out;
        continue;
      }
      JournalEntry entry = *JournalEntryFromBytes(bytes);
      entry.number -= left_out;
      stored.push_back(ToBytes(entry));
    }
    return ForwardingStore::AppendToJournal(id, stored);
  }
  uint64_t left_out = 0;  // Since the journal was opened.
};

// Each release is made from the first adapter.
struct ReleasesUnchained final : PlantedStore {
  using PlantedStore::PlantedStore;
  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
    const RunRecord run = *disk().Get(id);
    std::vector<float> values = Values(release.adapter);
    const std::vector<float> before = Values(disk().GetBlob(run.adapter)->bytes());
    const std::vector<float> first = Values(disk().GetBlob(run.initial_adapter)->bytes());
    for (size_t i = 0; i < values.size(); ++i) values[i] = first[i] + (values[i] - before[i]);
    const GlobalAdapter other(std::move(values));
    NewRelease changed = release;
    changed.adapter = other.bytes();
    changed.adapter_draft = nullptr;
    changed.record.adapter = other.digest();
    return disk().SaveRelease(id, changed);
  }
  static std::vector<float> Values(std::span<const std::byte> bytes) {
    const auto* start = reinterpret_cast<const float*>(bytes.data());
    return {start, start + bytes.size() / sizeof(float)};
  }
};

// Somebody is counted who was not asked.
struct CountsStrangers final : PlantedStore {
  using PlantedStore::PlantedStore;
  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
    NewRelease changed = release;
    if (!changed.contributions.empty()) {
      changed.contributions.back().institution = Institution{"a-stranger"};
    }
    return disk().SaveRelease(id, changed);
  }
};

// Somebody is counted twice who was asked once.
struct CountsOneTwice final : PlantedStore {
  using PlantedStore::PlantedStore;
  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
    NewRelease changed = release;
    if (changed.contributions.size() > 1) {
      changed.contributions.back() = changed.contributions.front();
    }
    return disk().SaveRelease(id, changed);
  }
};

// The journal gets to the disk with the next change only.
struct WritesTheJournalLate final : PlantedStore {
  using PlantedStore::PlantedStore;
  void ProcessEnds() override { unwritten.clear(); }
  absl::Status AppendToJournal(const RunId& id, const std::vector<std::string>& entries) override {
    return ForwardingStore::AppendToJournal(id, std::exchange(unwritten, entries));
  }
  absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) override {
    unwritten.clear();
    return ForwardingStore::OpenJournal(id, attempt, entry);
  }
  std::vector<std::string> unwritten;
};

// A new process takes the late contributions in its journal for new ones.
struct ForgetsLateness final : PlantedStore {
  using PlantedStore::PlantedStore;
  absl::StatusOr<std::vector<std::string>> Journal(const RunId& id) const override {
    std::vector<std::string> entries = *ForwardingStore::Journal(id);
    std::optional<AttemptOpened> opened;
    for (std::string& bytes : entries) {
      absl::StatusOr<JournalEntry> entry = JournalEntryFromBytes(bytes);
      if (const auto* opening = std::get_if<AttemptOpened>(&entry->what)) opened = *opening;
      auto* received = std::get_if<ReceivedFromClient>(&entry->what);
      auto* taken =
          received == nullptr ? nullptr : std::get_if<ContributionTaken>(&received->event);
      if (taken == nullptr || taken->header.round == opened->round) continue;
      taken->header.round = opened->round;
      taken->header.attempt = opened->attempt;
      taken->header.adapter = disk().Get(id)->adapter;
      bytes = ToBytes(*entry);
    }
    return entries;
  }
};

// A new process does not know that the run is to pause.
struct ForgetsThePause final : PlantedStore {
  using PlantedStore::PlantedStore;
  absl::StatusOr<RunRecord> Get(const RunId& id) const override {
    auto record = ForwardingStore::Get(id);
    if (record.ok()) record->pause.reset();
    return record;
  }
};

// A run that is tried again begins to count its attempts anew.
struct CountsAttemptsAnew final : PlantedStore {
  using PlantedStore::PlantedStore;
  absl::StatusOr<RunRecord> Get(const RunId& id) const override {
    auto record = ForwardingStore::Get(id);
    if (record.ok() && HasEnded(record->state)) record->attempts_opened = 0;
    return record;
  }
};

}  // namespace fedtune::simulation
