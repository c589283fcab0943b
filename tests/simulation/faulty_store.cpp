// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/faulty_store.h"

#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune::simulation {

void FaultyStore::Fill(absl::Duration how_long) {
  ground_.Say(kHub, "its disk is full");
  full_until_ = ground_.scheduler.now() + how_long;
}

void FaultyStore::Hold(absl::Duration how_long) {
  ground_.Say(kHub, "its store is held");
  held_until_ = ground_.scheduler.now() + how_long;
}

absl::Status FaultyStore::Insert(const RunRecord& run, const std::vector<ClientView>& clients,
                                 std::span<const std::byte> adapter) {
  return Change("insert the run", [&] { return disk().Insert(run, clients, adapter); });
}

absl::Status FaultyStore::SaveRelease(const RunId& id, const NewRelease& release) {
  return Change("store the release", [&] { return disk().SaveRelease(id, release); });
}

absl::Status FaultyStore::SaveClients(const RunId& id, const std::vector<ClientView>& clients) {
  return Change("store the clients", [&] { return disk().SaveClients(id, clients); });
}

absl::Status FaultyStore::OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) {
  is_to_open_ = true;
  return Change("open a journal", [&]() -> absl::Status {
    RETURN_IF_ERROR(disk().OpenJournal(id, attempt, entry));
    is_to_open_ = false;
    auditor_.Journalled(std::string(entry));
    return absl::OkStatus();
  });
}

absl::Status FaultyStore::AppendToJournal(const RunId& id,
                                          const std::vector<std::string>& entries) {
  return Change(fmt::format("add {} to the journal", entries.size()), [&]() -> absl::Status {
    RETURN_IF_ERROR(disk().AppendToJournal(id, entries));
    has_just_added_ = true;
    for (const std::string& entry : entries) auditor_.Journalled(entry);
    return absl::OkStatus();
  });
}

absl::Status FaultyStore::SetPause(const RunId& id, const std::optional<std::string>& reason) {
  return Change("store a pause", [&] { return disk().SetPause(id, reason); });
}

absl::Status FaultyStore::RequestStop(const RunId& id, const std::string& reason) {
  return Change("store a stop", [&] { return disk().RequestStop(id, reason); });
}

absl::Status FaultyStore::End(const RunId& id, const RunEnding& ending) {
  return Change("store the end", [&] { return disk().End(id, ending); });
}

absl::Status FaultyStore::Reopen(const RunId& id, std::string_view entry) {
  return Change("open the run again", [&]() -> absl::Status {
    RETURN_IF_ERROR(disk().Reopen(id, entry));
    auditor_.Retried();
    return absl::OkStatus();
  });
}

absl::Status FaultyStore::Change(std::string_view what,
                                 const std::function<absl::Status()>& change) {
  end_at_times_(fmt::format("before it could {}", what));
  if (ground_.scheduler.now() < full_until_) {
    auditor_.Excuse(ground_.scheduler.now());
    return absl::ResourceExhaustedError("the disk is full");
  }
  if (ground_.scheduler.now() < held_until_) {
    auditor_.Excuse(ground_.scheduler.now());
    return absl::UnavailableError("another process holds the store");
  }
  RETURN_IF_ERROR(change());
  ground_.Say(kHub, fmt::format("did {}", what));
  end_at_times_(fmt::format("when it had to {}", what));
  return absl::OkStatus();
}

}  // namespace fedtune::simulation
