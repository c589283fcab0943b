// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/sqlite/sqlite.h"
#include "coordinator/storage/blob_store.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// Runs in SQLite. Blobs of up to 4 MiB lie in the database as well, so that a
// release is one transaction and one sync; larger ones lie in a folder and are
// synced there before the transaction that names them.
class SqliteRunStore final : public RunStore {
 public:
  struct Options {
    std::filesystem::path directory;  // Holds fedtune.sqlite and blobs/.
    int64_t keep_adapters = 3;        // The newest of a run that are kept; at least 1.
  };

  // Errors as OpenStateDatabase() and BlobStore::Open().
  static absl::StatusOr<std::unique_ptr<SqliteRunStore>> Open(const Options& options);

  absl::Status Insert(const RunRecord& run, std::span<const std::byte> adapter) override;
  absl::StatusOr<RunRecord> Get(const RunId& id) const override;
  absl::StatusOr<std::optional<RunRecord>> FindByRequest(
      std::string_view request_id) const override;
  absl::StatusOr<std::vector<RunRecord>> List() const override;
  absl::Status SaveRelease(const RunId& id, const NewRelease& release) override;
  absl::Status SaveClients(const RunId& id, const std::vector<ClientView>& clients) override;
  absl::Status SaveProgress(const RunId& id, int64_t attempts) override;
  absl::Status End(const RunId& id, const RunEnding& ending) override;
  absl::StatusOr<std::vector<ReleaseRecord>> Releases(const RunId& id) const override;
  absl::StatusOr<std::vector<ClientView>> Clients(const RunId& id) const override;
  absl::StatusOr<std::vector<EvaluationSummary>> Evaluations(const RunId& id) const override;
  absl::StatusOr<Blob> GetBlob(const Digest& digest) const override;

 private:
  SqliteRunStore(SqliteDatabase database, BlobStore blobs, int64_t keep_adapters)
      : database_(std::move(database)), blobs_(std::move(blobs)), keep_adapters_(keep_adapters) {}

  // All of these: with mutex_ held and, where they write, in a transaction.
  absl::Status RemoveOrphans();
  absl::Status PutBlob(const Digest& digest, std::span<const std::byte> bytes);
  absl::Status MoveHead(const RunId& id, const NewRelease& release,
                        const std::optional<Digest>& optimizer_state);
  absl::Status InsertRelease(const RunId& id, const ReleaseRecord& record);
  absl::Status InsertContributions(const RunId& id, const NewRelease& release);
  absl::Status InsertEvaluation(const RunId& id, const EvaluationSummary& evaluation);
  absl::Status ReplaceClients(const RunId& id, const std::vector<ClientView>& clients);
  absl::StatusOr<std::vector<Digest>> DropOldAdapters(const RunId& id, int64_t round);
  absl::StatusOr<std::optional<Digest>> OptimizerState(const RunId& id) const;

  // Deletes the rows of those of `candidates` that nothing refers to, commits,
  // and removes their files.
  absl::Status CommitAndRemove(SqliteTransaction transaction,
                               const std::vector<Digest>& candidates);
  absl::StatusOr<bool> DeleteUnreferencedBlob(const Digest& digest);

  mutable std::mutex mutex_;
  SqliteDatabase database_;
  BlobStore blobs_;
  const int64_t keep_adapters_;
};

}  // namespace fedtune
