// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <utility>

#include "base/sqlite/sqlite.h"
#include "coordinator/storage/federation_store.h"

namespace fedtune {

class SqliteFederationStore final : public FederationStore {
 public:
  // Errors as OpenStateDatabase().
  static absl::StatusOr<std::unique_ptr<SqliteFederationStore>> Open(
      const std::filesystem::path& database);

  absl::Status SaveClient(const ClientRecord& client) override;
  absl::StatusOr<std::vector<ClientRecord>> Clients() const override;
  absl::Status SaveModel(const ModelRecord& model) override;
  absl::StatusOr<std::optional<ModelRecord>> FindModel(std::string_view name) const override;
  absl::StatusOr<std::vector<ModelRecord>> Models() const override;

 private:
  explicit SqliteFederationStore(SqliteDatabase database) : database_(std::move(database)) {}

  mutable std::mutex mutex_;
  SqliteDatabase database_;  // Guarded by mutex_.
};

}  // namespace fedtune
