// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/clients/client_records.h"

#include <utility>

#include "base/status.h"
#include "base/status_macros.h"

namespace fedtune {

ClientRecords::ClientRecords(FederationStore& store, Log& log, absl::Duration pause)
    : store_(store),
      log_(log),
      pause_(pause),
      thread_([this](const std::stop_token& stop) { Write(stop); }) {}

ClientRecords::~ClientRecords() {
  thread_.request_stop();
  thread_.join();
  WriteChanges();
}

void ClientRecords::Save(ClientRecord client) {
  const std::lock_guard lock(mutex_);
  const Institution institution = client.institution;
  changes_.insert_or_assign(institution, std::move(client));
  changed_.notify_one();
}

absl::StatusOr<std::vector<ClientRecord>> ClientRecords::All() const {
  Records all;
  {
    const std::lock_guard lock(mutex_);
    all = changes_;
  }
  ASSIGN_OR_RETURN(std::vector<ClientRecord> stored, store_.Clients());
  for (ClientRecord& record : stored) {
    const Institution institution = record.institution;
    all.emplace(institution, std::move(record));
  }
  std::vector<ClientRecord> records;
  for (auto& [institution, record] : all) records.push_back(std::move(record));
  return records;
}

void ClientRecords::Write(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (!changed_.wait(lock, stop, [this] { return !changes_.empty(); })) return;
    lock.unlock();
    WriteChanges();
    lock.lock();
    changed_.wait_for(lock, stop, absl::ToChronoNanoseconds(pause_), [] { return false; });
  }
}

void ClientRecords::WriteChanges() {
  Records written;
  {
    const std::lock_guard lock(mutex_);
    written = changes_;
  }
  if (written.empty()) return;
  std::vector<ClientRecord> records;
  for (const auto& [institution, record] : written) records.push_back(record);
  const absl::Status stored = store_.SaveClients(records);
  if (!stored.ok() && !failed_) {
    log_.Warning("clients' records could not be stored, trying again until they can",
                 {Field("why", Message(stored))});
  }
  failed_ = !stored.ok();
  if (failed_) return;
  const std::lock_guard lock(mutex_);
  for (const auto& [institution, record] : written) {
    const auto found = changes_.find(institution);
    if (found != changes_.end() && found->second == record) changes_.erase(found);
  }
}

}  // namespace fedtune
