// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/sqlite_federation_store.h"

#include "base/status_macros.h"
#include "coordinator/storage/columns.h"

namespace fedtune {
namespace {

ModelRecord ReadModel(const SqliteStatement& row) {
  RowReader read(row);
  ModelRecord model;
  model.name = read.Text();
  model.digest = read.Text();
  model.base_model_json = read.Text();
  model.added = read.Time();
  return model;
}

ClientRecord ReadClient(const SqliteStatement& row) {
  RowReader read(row);
  ClientRecord client;
  client.institution.value = read.Text();
  client.last_seen = read.Time();
  client.certificate_expires = read.Time();
  client.version = read.Text();
  client.device_kind = read.Text();
  client.device_name = read.Text();
  client.memory_bytes = static_cast<uint64_t>(read.Int64());
  client.threads = static_cast<uint32_t>(read.Int64());
  client.example_count = read.Int64();
  return client;
}

}  // namespace

absl::Status SqliteFederationStore::SaveClients(const std::vector<ClientRecord>& clients) {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(database_));
  for (const ClientRecord& client : clients) {
    RETURN_IF_ERROR(database_.Run(
        "INSERT OR REPLACE INTO clients VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        client.institution.value, ToColumn(client.last_seen), ToColumn(client.certificate_expires),
        client.version, client.device_kind, client.device_name, client.memory_bytes, client.threads,
        client.example_count));
  }
  return std::move(transaction).Commit();
}

absl::StatusOr<std::vector<ClientRecord>> SqliteFederationStore::Clients() const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteStatement rows,
                   database_.Prepare("SELECT institution, last_seen_ms, certificate_expires_ms, "
                                     "version, device_kind, device_name, memory_bytes, threads, "
                                     "example_count FROM clients ORDER BY institution"));
  std::vector<ClientRecord> clients;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return clients;
    clients.push_back(ReadClient(rows));
  }
}

absl::Status SqliteFederationStore::SaveModel(const ModelRecord& model) {
  const std::lock_guard lock(mutex_);
  return database_.Run("INSERT OR REPLACE INTO models VALUES (?, ?, ?, ?)", model.name,
                       model.digest, model.base_model_json, ToColumn(model.added));
}

absl::StatusOr<std::optional<ModelRecord>> SqliteFederationStore::FindModel(
    std::string_view name) const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteStatement row,
                   database_.Prepare("SELECT name, digest, base_model_json, added_ms FROM models "
                                     "WHERE name = ?"));
  ASSIGN_OR_RETURN(const bool found, row.Bind(name).Step());
  return found ? std::optional(ReadModel(row)) : std::nullopt;
}

absl::StatusOr<std::vector<ModelRecord>> SqliteFederationStore::Models() const {
  const std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(SqliteStatement rows,
                   database_.Prepare("SELECT name, digest, base_model_json, added_ms FROM models "
                                     "ORDER BY name"));
  std::vector<ModelRecord> models;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, rows.Step());
    if (!more) return models;
    models.push_back(ReadModel(rows));
  }
}

}  // namespace fedtune
