// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/storage/run_store.h"

namespace fedtune::simulation {

// The coordinator's virtual disk: outlives the processes that write to it. Every
// change is whole and on the disk when the call returns; who stands before it
// decides what does not get here.
class MemoryRunStore final : public RunStore {
 public:
  // Called with each release that has become durable.
  explicit MemoryRunStore(std::function<void(const NewRelease&)> on_release)
      : on_release_(std::move(on_release)) {}

  absl::Status Insert(const RunRecord& run, const std::vector<ClientView>& clients,
                      std::span<const std::byte> adapter) override;
  absl::StatusOr<RunRecord> Get(const RunId& id) const override;
  absl::StatusOr<std::optional<RunRecord>> FindByRequest(
      std::string_view request_id) const override;
  absl::StatusOr<std::vector<RunId>> Ids() const override;
  absl::StatusOr<std::vector<RunRecord>> List() const override;
  absl::StatusOr<std::unique_ptr<BlobDraft>> NewBlob(uint64_t size) override {
    return std::make_unique<BlobDraftInMemory>(size);
  }
  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override;
  absl::Status SaveClients(const RunId& id, const std::vector<ClientView>& clients) override;
  absl::Status OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) override;
  absl::Status AppendToJournal(const RunId& id, const std::vector<std::string>& entries) override;
  absl::StatusOr<std::vector<std::string>> Journal(const RunId& id) const override;
  absl::Status SetPause(const RunId& id, const std::optional<std::string>& reason) override;
  absl::Status RequestStop(const RunId& id, const std::string& reason) override;
  absl::Status End(const RunId& id, const RunEnding& ending) override;
  absl::Status Reopen(const RunId& id, std::string_view entry) override;
  absl::StatusOr<std::vector<ReleaseRecord>> Releases(const RunId& id) const override;
  absl::StatusOr<std::vector<ClientView>> Clients(const RunId& id) const override;
  absl::StatusOr<std::vector<EvaluationSummary>> Evaluations(const RunId& id) const override;
  absl::StatusOr<Blob> GetBlob(const Digest& digest) const override;

 private:
  struct Row {
    RunRecord run;
    std::vector<ClientView> clients;
    std::vector<ReleaseRecord> releases;
    std::map<Institution, int64_t> contributed;
    std::map<int64_t, EvaluationSummary> evaluations;
    std::vector<std::string> journal;
  };

  // Null: there is none, or it has ended.
  Row* Open(const RunId& id);
  Digest Keep(std::span<const std::byte> bytes);

  const std::function<void(const NewRelease&)> on_release_;
  std::map<RunId, Row> rows_;
  std::map<Digest, std::string> blobs_;
};

}  // namespace fedtune::simulation
