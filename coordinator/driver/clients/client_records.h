// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/logging.h"
#include "coordinator/rounds/names.h"
#include "coordinator/storage/federation_store.h"

namespace fedtune {

// What is known of the clients. Changes are stored by a thread of its own, all
// that there are together, with a pause after each time: however often clients
// come and go, the store is free for the runs. Thread-safe.
class ClientRecords {
 public:
  // `store` and `log` must outlive the object.
  ClientRecords(FederationStore& store, Log& log, absl::Duration pause = absl::Seconds(1));

  // Stores what is left.
  ~ClientRecords();

  // Returns at once. A record that cannot be stored is kept and tried again.
  void Save(ClientRecord client);

  // By name, with what is not stored yet. Errors as FederationStore.
  absl::StatusOr<std::vector<ClientRecord>> All() const;

 private:
  using Records = std::map<Institution, ClientRecord>;

  void Write(const std::stop_token& stop);
  void WriteChanges();

  FederationStore& store_;
  Log& log_;
  const absl::Duration pause_;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  Records changes_;      // Not stored yet.
  bool failed_ = false;  // The last time; used by the thread only.

  std::jthread thread_;  // Last: starts when all else is there, ends first.
};

}  // namespace fedtune
