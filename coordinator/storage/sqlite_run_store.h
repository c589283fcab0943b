// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/sqlite/sqlite.h"
#include "coordinator/storage/blob_store.h"
#include "coordinator/storage/log_rows.h"
#include "coordinator/storage/run_store.h"
#include "coordinator/storage/state_database.h"

namespace fedtune {

// Runs in SQLite. Blobs of up to 256 KiB lie in the database as well, so that a
// release is one transaction and one sync; larger ones, which SQLite would write page
// by page and twice, lie in a folder and are synced there before the transaction that
// names them begins, so that nobody else waits for them.
class SqliteRunStore final : public RunStore {
 public:
  struct Options {
    std::filesystem::path blobs;  // The folder of large blobs; made when missing.
    // So many of a run's newest are kept, and what a release says is wanted; at least 1.
    int64_t keep_adapters = 3;
    const Clock* clock = nullptr;  // Outlives the store. Null: the machine's.
    std::string log_id = {};       // Of an audit log that begins. Empty: one drawn at random.
  };

  // Where the database has no audit log yet, one begins, with the runs that are under way.
  // Errors as BlobStore::Open().
  static absl::StatusOr<std::unique_ptr<SqliteRunStore>> Open(std::shared_ptr<StateDatabase> state,
                                                              const Options& options);

  absl::Status Insert(const RunRecord& run, const std::vector<ClientView>& clients,
                      std::span<const std::byte> adapter) override;
  absl::StatusOr<RunRecord> Get(const RunId& id) const override;
  absl::StatusOr<std::optional<RunRecord>> FindByRequest(
      std::string_view request_id) const override;
  absl::StatusOr<std::vector<RunId>> Ids() const override;
  absl::StatusOr<std::vector<RunRecord>> List() const override;
  absl::StatusOr<std::unique_ptr<BlobDraft>> NewBlob(uint64_t size) override;
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
  SqliteRunStore(std::shared_ptr<StateDatabase> state, BlobStore blobs, const Options& options)
      : state_(std::move(state)),
        mutex_(state_->mutex),
        database_(state_->connection),
        blobs_(std::move(blobs)),
        keep_adapters_(options.keep_adapters),
        clock_(options.clock == nullptr ? machine_clock_ : *options.clock) {}

  absl::Status RemoveOrphans();
  absl::Status BeginLog(const std::string& id);

  // A large blob's file, with files_mutex_ held and not mutex_; `draft` has it already,
  // or is null.
  absl::Status PutFile(const Digest& digest, std::span<const std::byte> bytes,
                       BlobDraft* draft = nullptr);

  // What an error of a blob's file means to the store, without mutex_.
  absl::Status Judge(absl::Status of_file);

  // All that follow: with mutex_ held and, where they write, in a transaction.

  absl::Status InsertRun(const RunRecord& run, const std::vector<ClientView>& clients,
                         std::span<const std::byte> adapter);

  absl::StatusOr<SqliteStatement> FindRun(std::string_view column) const;

  static LogEvent StartOf(const RunRecord& run);
  absl::Status LogOne(LogEvent event);
  // Behind its start, if it had ended before the log began: of its attempts none is open.
  absl::Status LogReopening(const RunId& id);
  // Requires: it is there, and mutex_ is held.
  absl::StatusOr<RunRecord> RunOf(const RunId& id) const;
  // That it was started, and the attempt that is open.
  absl::Status LogWhereItIs(LogWriter& log, const RunId& id) const;

  // A blob's file whose transaction has failed, with files_mutex_ held.
  void RemoveUnlessNamed(const Digest& digest);

  // The blob's row, and the blob unless it is one for PutFile().
  absl::Status InsertBlob(const Digest& digest, std::span<const std::byte> bytes);
  absl::Status MoveHead(const RunId& id, const NewRelease& release,
                        const std::optional<Digest>& optimizer_state);
  absl::Status InsertRelease(const RunId& id, const ReleaseRecord& record);
  absl::Status InsertContributions(const RunId& id, const NewRelease& release);
  absl::Status LogRelease(const RunId& id, const NewRelease& release);
  absl::Status InsertEvaluation(const RunId& id, const EvaluationSummary& evaluation);
  absl::Status InsertIntoJournal(const RunId& id, std::string_view entry);
  absl::Status DropJournal(const RunId& id);
  // ABORTED: it has ended.
  absl::Status CheckIsUnderWay(const RunId& id) const;
  absl::Status PutClients(const RunId& id, const std::vector<ClientView>& clients);
  absl::StatusOr<std::vector<Digest>> DropOldAdapters(const RunId& id, const NewRelease& release);
  absl::StatusOr<std::optional<Digest>> OptimizerState(const RunId& id) const;

  // Deletes the rows of those of `candidates` that nothing refers to, commits,
  // and removes their files; with files_mutex_ held.
  absl::Status CommitAndRemove(SqliteTransaction transaction,
                               const std::vector<Digest>& candidates);
  absl::StatusOr<bool> DeleteUnreferencedBlob(const Digest& digest);

  const std::shared_ptr<StateDatabase> state_;
  std::mutex& mutex_;
  SqliteDatabase& database_;  // Guarded by mutex_.
  // Held from looking for a blob's file until its row has come or gone. Taken
  // before mutex_.
  std::mutex files_mutex_;
  BlobStore blobs_;
  const int64_t keep_adapters_;
  const SystemClock machine_clock_ = {};
  const Clock& clock_;
};

}  // namespace fedtune
