// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/rounds/names.h"

namespace fedtune {

// What is known of one institution's client, from its certificate and from what
// it said when it last connected. Times are kept to the millisecond.
struct ClientRecord {
  Institution institution;
  absl::Time last_seen;
  absl::Time certificate_expires;
  std::string version;
  std::string device_kind;
  std::string device_name;
  uint64_t memory_bytes = 0;
  uint32_t threads = 0;
  int64_t example_count = 0;

  friend bool operator==(const ClientRecord&, const ClientRecord&) = default;
};

// A base model that runs can name.
struct ModelRecord {
  std::string name;
  std::string digest;           // "sha256:..."
  std::string base_model_json;  // BaseModelDescription.
  absl::Time added;

  friend bool operator==(const ModelRecord&, const ModelRecord&) = default;
};

// The durable record of what belongs to no single run: the clients that were
// ever seen and the catalogue of base models. Thread-safe; errors as RunStore.
class FederationStore {
 public:
  virtual ~FederationStore() = default;

  // Replaces what was known of these clients.
  virtual absl::Status SaveClients(const std::vector<ClientRecord>& clients) = 0;

  // By name.
  virtual absl::StatusOr<std::vector<ClientRecord>> Clients() const = 0;

  // Adds a base model, or replaces the one of this name.
  virtual absl::Status SaveModel(const ModelRecord& model) = 0;

  virtual absl::StatusOr<std::optional<ModelRecord>> FindModel(std::string_view name) const = 0;

  // By name.
  virtual absl::StatusOr<std::vector<ModelRecord>> Models() const = 0;
};

}  // namespace fedtune
