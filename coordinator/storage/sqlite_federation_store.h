// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "coordinator/storage/federation_store.h"
#include "coordinator/storage/state_database.h"

namespace fedtune {

// In the coordinator's database, beside its runs (SqliteRunStore).
class SqliteFederationStore final : public FederationStore {
 public:
  explicit SqliteFederationStore(std::shared_ptr<StateDatabase> state)
      : state_(std::move(state)), mutex_(state_->mutex), database_(state_->connection) {}

  absl::Status SaveClients(const std::vector<ClientRecord>& clients) override;
  absl::StatusOr<std::vector<ClientRecord>> Clients() const override;
  absl::Status SaveModel(const ModelRecord& model) override;
  absl::StatusOr<std::optional<ModelRecord>> FindModel(std::string_view name) const override;
  absl::StatusOr<std::vector<ModelRecord>> Models() const override;

 private:
  const std::shared_ptr<StateDatabase> state_;
  std::mutex& mutex_;
  SqliteDatabase& database_;  // Guarded by mutex_.
};

}  // namespace fedtune
