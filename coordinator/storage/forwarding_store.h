// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/storage/run_store.h"

namespace fedtune {

// A store that passes everything on to another one; others override what they do
// differently.
class ForwardingStore : public RunStore {
 public:
  explicit ForwardingStore(RunStore& disk) : disk_(disk) {}

  absl::Status Insert(const RunRecord& run, const std::vector<ClientView>& clients,
                      std::span<const std::byte> adapter) override {
    return disk_.Insert(run, clients, adapter);
  }
  absl::StatusOr<RunRecord> Get(const RunId& id) const override { return disk_.Get(id); }
  absl::StatusOr<std::optional<RunRecord>> FindByRequest(std::string_view id) const override {
    return disk_.FindByRequest(id);
  }
  absl::StatusOr<std::vector<RunId>> Ids() const override { return disk_.Ids(); }
  absl::StatusOr<std::vector<RunRecord>> List() const override { return disk_.List(); }
  absl::StatusOr<std::unique_ptr<BlobDraft>> NewBlob(uint64_t size) override {
    return disk_.NewBlob(size);
  }
  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override {
    return disk_.SaveRelease(id, release);
  }
  absl::Status SaveClients(const RunId& id, const std::vector<ClientView>& clients) override {
    return disk_.SaveClients(id, clients);
  }
  absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) override {
    return disk_.OpenJournal(id, attempt, entry);
  }
  absl::Status AppendToJournal(const RunId& id, const std::vector<std::string>& entries) override {
    return disk_.AppendToJournal(id, entries);
  }
  absl::StatusOr<std::vector<std::string>> Journal(const RunId& id) const override {
    return disk_.Journal(id);
  }
  absl::Status SetPause(const RunId& id, const std::optional<std::string>& reason) override {
    return disk_.SetPause(id, reason);
  }
  absl::Status RequestStop(const RunId& id, const std::string& reason) override {
    return disk_.RequestStop(id, reason);
  }
  absl::Status End(const RunId& id, const RunEnding& ending) override {
    return disk_.End(id, ending);
  }
  absl::Status Reopen(const RunId& id, std::string_view entry) override {
    return disk_.Reopen(id, entry);
  }
  absl::StatusOr<std::vector<ReleaseRecord>> Releases(const RunId& id) const override {
    return disk_.Releases(id);
  }
  absl::StatusOr<std::vector<ClientView>> Clients(const RunId& id) const override {
    return disk_.Clients(id);
  }
  absl::StatusOr<std::vector<EvaluationSummary>> Evaluations(const RunId& id) const override {
    return disk_.Evaluations(id);
  }
  absl::StatusOr<Blob> GetBlob(const Digest& digest) const override {
    return disk_.GetBlob(digest);
  }

 protected:
  RunStore& disk() const { return disk_; }

 private:
  RunStore& disk_;
};

}  // namespace fedtune
