// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/sqlite_run_store.h"

#include <set>
#include <string>
#include <utility>

#include "base/fail_point.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/storage/columns.h"
#include "coordinator/storage/run_rows.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr size_t kMaxInlineBytes = size_t{256} << 10;

bool IsLarge(uint64_t bytes) { return bytes > kMaxInlineBytes; }

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteRunStore>> SqliteRunStore::Open(
    std::shared_ptr<StateDatabase> state, const Options& options) {
  ASSIGN_OR_RETURN(BlobStore blobs, BlobStore::Open(options.blobs));
  std::unique_ptr<SqliteRunStore> store(
      new SqliteRunStore(std::move(state), std::move(blobs), options));
  RETURN_IF_ERROR(store->RemoveOrphans());
  RETURN_IF_ERROR(store->BeginLog(options.log_id));
  return store;
}

// Files whose transaction never came, or whose removal did not.
absl::Status SqliteRunStore::RemoveOrphans() {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteStatement rows,
                   database_.Prepare("SELECT sha256 FROM blobs WHERE content IS NULL"));
  ASSIGN_OR_RETURN(
      const std::vector<Digest> wanted,
      ReadAll<Digest>(rows, [](const SqliteStatement& row) { return RowReader(row).Sha256(); }));
  return blobs_.RemoveAllBut({wanted.begin(), wanted.end()});
}

absl::StatusOr<std::unique_ptr<BlobDraft>> SqliteRunStore::NewBlob(uint64_t size) {
  if (!IsLarge(size)) return std::make_unique<BlobDraftInMemory>(size);
  return blobs_.NewDraft(size, [this](absl::Status status) { return Judge(std::move(status)); });
}

absl::Status SqliteRunStore::PutFile(const Digest& digest, std::span<const std::byte> bytes,
                                     BlobDraft* draft) {
  if (draft != nullptr) return draft->Keep(digest);
  return IsLarge(bytes.size()) ? Judge(blobs_.Put(digest, bytes)) : absl::OkStatus();
}

// A disk that fails one file fails the store, also one that has become read-only, and a
// folder that is gone: no run is to blame for it.
absl::Status SqliteRunStore::Judge(absl::Status of_file) {
  if (of_file.ok() || absl::IsResourceExhausted(of_file)) return of_file;
  const std::lock_guard lock(mutex_);
  return database_.End(Message(of_file));
}

absl::Status SqliteRunStore::InsertBlob(const Digest& digest, std::span<const std::byte> bytes) {
  return database_.Run("INSERT OR IGNORE INTO blobs VALUES (?, ?)", ToColumn(digest),
                       IsLarge(bytes.size()) ? std::nullopt : std::optional(bytes));
}

absl::Status SqliteRunStore::Insert(const RunRecord& run, const std::vector<ClientView>& clients,
                                    std::span<const std::byte> adapter) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kRunInsertBefore));
  const std::lock_guard files_lock(files_mutex_);
  RETURN_IF_ERROR(PutFile(run.initial_adapter, adapter));
  const std::lock_guard lock(mutex_);
  absl::Status inserted = InsertRun(run, clients, adapter);
  if (!inserted.ok()) {
    RemoveUnlessNamed(run.initial_adapter);
    return inserted;
  }
  ReachFailPoint(FailPoint::kRunInsertAfter);
  return absl::OkStatus();
}

absl::Status SqliteRunStore::InsertRun(const RunRecord& run, const std::vector<ClientView>& clients,
                                       std::span<const std::byte> adapter) {
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  RETURN_IF_ERROR(InsertBlob(run.initial_adapter, adapter));
  RETURN_IF_ERROR(database_.Run(
      "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      run.id.value, run.request_id, run.plan_name, run.plan_toml, run.base_model, run.base_digest,
      run.started_by, run.round_count, ToColumn(run.started_at), ToColumn(run.initial_adapter),
      run.adapter_bytes, ToString(run.state), run.reason, ToColumn(run.ended_at), run.rounds_done,
      run.attempts_opened, ToColumn(run.adapter), ToColumn(run.optimizer_state),
      run.traffic.bytes_received, run.traffic.bytes_sent, run.pause, run.stop));
  RETURN_IF_ERROR(database_.Run("INSERT INTO run_texts VALUES (?, ?, ?)", run.id.value,
                                run.layout_json, run.base_model_json));
  RETURN_IF_ERROR(PutClients(run.id, clients));
  RETURN_IF_ERROR(LogOne(StartOf(run)));
  return std::move(transaction).Commit();
}

// Where the database does not say, the next opening sees to it.
void SqliteRunStore::RemoveUnlessNamed(const Digest& digest) {
  absl::StatusOr<SqliteStatement> row = database_.Prepare("SELECT 1 FROM blobs WHERE sha256 = ?");
  if (!row.ok()) return;
  const absl::StatusOr<bool> named = row->Bind(ToColumn(digest)).Step();
  if (named.ok() && !*named) blobs_.Remove(digest).IgnoreError();
}

// All of the run whose `column` is the parameter.
absl::StatusOr<SqliteStatement> SqliteRunStore::FindRun(std::string_view column) const {
  return database_.Prepare(
      fmt::format("SELECT {}, {} FROM runs JOIN run_texts ON run_id = id WHERE {} = ?",
                  kListedRunColumns, kRunTextColumns, column));
}

absl::StatusOr<RunRecord> SqliteRunStore::Get(const RunId& id) const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteStatement row, FindRun("id"));
  ASSIGN_OR_RETURN(const bool found, row.Bind(id.value).Step());
  if (!found) return absl::NotFoundError(fmt::format("there is no run {}", id.value));
  return ReadRun(row);
}

absl::StatusOr<std::optional<RunRecord>> SqliteRunStore::FindByRequest(
    std::string_view request_id) const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteStatement row, FindRun("request_id"));
  ASSIGN_OR_RETURN(const bool found, row.Bind(request_id).Step());
  if (!found) return std::nullopt;
  ASSIGN_OR_RETURN(RunRecord run, ReadRun(row));
  return run;
}

absl::StatusOr<std::vector<RunId>> SqliteRunStore::Ids() const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteStatement rows, database_.Prepare("SELECT id FROM runs ORDER BY id"));
  return ReadAll<RunId>(rows, [](const SqliteStatement& row) { return RunId{row.Text(0)}; });
}

absl::StatusOr<std::vector<RunRecord>> SqliteRunStore::List() const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(
      SqliteStatement rows,
      database_.Prepare(fmt::format("SELECT {} FROM runs ORDER BY started_at_ms DESC, rowid DESC",
                                    kListedRunColumns)));
  return ReadAll<RunRecord>(rows, ReadListedRun);
}

absl::StatusOr<std::optional<Digest>> SqliteRunStore::OptimizerState(const RunId& id) const {
  ASSIGN_OR_RETURN(SqliteStatement row,
                   database_.Prepare("SELECT optimizer_state FROM runs WHERE id = ?"));
  ASSIGN_OR_RETURN(const bool found, row.Bind(id.value).Step());
  return found ? RowReader(row).Optional(&RowReader::Sha256) : std::nullopt;
}

absl::StatusOr<bool> SqliteRunStore::DeleteUnreferencedBlob(const Digest& digest) {
  ASSIGN_OR_RETURN(
      SqliteStatement deleted,
      database_.Prepare(
          "DELETE FROM blobs WHERE sha256 = ?1 "
          "AND NOT EXISTS (SELECT 1 FROM releases WHERE adapter = ?1 AND adapter_kept) "
          "AND NOT EXISTS (SELECT 1 FROM runs WHERE initial_adapter = ?1 "
          "                OR adapter = ?1 OR optimizer_state = ?1) "
          "RETURNING typeof(content)"));
  ASSIGN_OR_RETURN(const bool found, deleted.Bind(ToColumn(digest)).Step());
  // SQLite 3.40 says 0 to "RETURNING content IS NULL" of a NULL.
  return found && deleted.Text(0) == "null";
}

absl::Status SqliteRunStore::CommitAndRemove(SqliteTransaction transaction,
                                             const std::vector<Digest>& candidates) {
  std::vector<Digest> files;
  for (const Digest& digest : candidates) {
    ASSIGN_OR_RETURN(const bool has_file, DeleteUnreferencedBlob(digest));
    if (has_file) files.push_back(digest);
  }
  RETURN_IF_ERROR(std::move(transaction).Commit());
  for (const Digest& digest : files) {
    // What cannot be removed now is removed when the store is opened again.
    blobs_.Remove(digest).IgnoreError();
  }
  return absl::OkStatus();
}

absl::Status SqliteRunStore::PutClients(const RunId& id, const std::vector<ClientView>& clients) {
  ASSIGN_OR_RETURN(
      SqliteStatement put,
      database_.Prepare("INSERT OR REPLACE INTO run_clients VALUES (?, ?, ?, ?, ?, ?)"));
  for (const ClientView& client : clients) {
    put.Reset();
    put.Bind(id.value)
        .Bind(client.institution.value)
        .Bind(ToString(client.state))
        .Bind(client.reason)
        .Bind(client.accepted ? 1 : 0)
        .Bind(client.example_count);
    RETURN_IF_ERROR(put.Step().status());
  }
  return absl::OkStatus();
}

absl::Status SqliteRunStore::SaveClients(const RunId& id, const std::vector<ClientView>& clients) {
  RETURN_IF_ERROR(CheckFailPoint(FailPoint::kClientsSaveBefore));
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  RETURN_IF_ERROR(PutClients(id, clients));
  RETURN_IF_ERROR(std::move(transaction).Commit());
  ReachFailPoint(FailPoint::kClientsSaveAfter);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> SqliteRunStore::Journal(const RunId& id) const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(
      SqliteStatement rows,
      database_.Prepare("SELECT entry FROM round_journal WHERE run_id = ? ORDER BY sequence"));
  return ReadAll<std::string>(rows.Bind(id.value), [](const SqliteStatement& row) {
    return absl::StatusOr<std::string>(row.Blob(0));
  });
}

absl::StatusOr<std::vector<ReleaseRecord>> SqliteRunStore::Releases(const RunId& id) const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteStatement rows, database_.Prepare(fmt::format(
                                             "SELECT {} FROM releases r LEFT JOIN evaluations e "
                                             "ON e.run_id = r.run_id AND e.round = r.round "
                                             "LEFT JOIN routing t "
                                             "ON t.run_id = r.run_id AND t.round = r.round "
                                             "WHERE r.run_id = ? ORDER BY r.round",
                                             kReleaseColumns)));
  return ReadAll<ReleaseRecord>(rows.Bind(id.value), ReadRelease);
}

absl::StatusOr<std::vector<ClientView>> SqliteRunStore::Clients(const RunId& id) const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(
      SqliteStatement rows,
      database_.Prepare(fmt::format("SELECT {} FROM run_clients c LEFT JOIN "
                                    "(SELECT institution, COUNT(*) AS rounds FROM contributions "
                                    "WHERE run_id = ?1 GROUP BY institution) n "
                                    "ON n.institution = c.institution "
                                    "WHERE c.run_id = ?1 ORDER BY c.institution",
                                    kRunClientColumns)));
  return ReadAll<ClientView>(rows.Bind(id.value), ReadRunClient);
}

absl::StatusOr<std::vector<EvaluationSummary>> SqliteRunStore::Evaluations(const RunId& id) const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(
      SqliteStatement rows,
      database_.Prepare(fmt::format("SELECT {} FROM evaluations WHERE run_id = ? ORDER BY round",
                                    kEvaluationColumns)));
  return ReadAll<EvaluationSummary>(rows.Bind(id.value), ReadEvaluation);
}

absl::StatusOr<Blob> SqliteRunStore::GetBlob(const Digest& digest) const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteStatement row,
                   database_.Prepare("SELECT content FROM blobs WHERE sha256 = ?"));
  ASSIGN_OR_RETURN(const bool found, row.Bind(ToColumn(digest)).Step());
  if (!found) return absl::NotFoundError(fmt::format("there is no blob {}", digest.ToString()));
  if (row.IsNull(0)) return blobs_.Get(digest);
  auto content = std::make_shared<const std::string>(row.Blob(0));
  const auto bytes = std::as_bytes(std::span(*content));
  return Blob(std::move(content), bytes);
}

}  // namespace fedtune
