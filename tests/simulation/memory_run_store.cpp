// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/memory_run_store.h"

#include <algorithm>
#include <memory>

#include "coordinator/driver/run_overview.h"

namespace fedtune::simulation {

MemoryRunStore::Row* MemoryRunStore::Open(const RunId& id) {
  const auto found = rows_.find(id);
  return found == rows_.end() || HasEnded(found->second.run.state) ? nullptr : &found->second;
}

Digest MemoryRunStore::Keep(std::span<const std::byte> bytes) {
  const Digest digest = Sha256Of(bytes);
  blobs_.try_emplace(digest, reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return digest;
}

absl::Status MemoryRunStore::Insert(const RunRecord& run, const std::vector<ClientView>& clients,
                                    std::span<const std::byte> adapter) {
  if (rows_.contains(run.id)) return absl::AlreadyExistsError("the run is stored");
  Keep(adapter);
  rows_[run.id].run = run;
  rows_[run.id].clients = clients;
  return absl::OkStatus();
}

absl::StatusOr<RunRecord> MemoryRunStore::Get(const RunId& id) const {
  const auto found = rows_.find(id);
  if (found == rows_.end()) return absl::NotFoundError("there is no such run");
  return found->second.run;
}

absl::StatusOr<std::optional<RunRecord>> MemoryRunStore::FindByRequest(
    std::string_view request_id) const {
  for (const auto& [id, row] : rows_) {
    if (row.run.request_id == request_id) return row.run;
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<RunId>> MemoryRunStore::Ids() const {
  std::vector<RunId> ids;
  for (const auto& [id, row] : rows_) ids.push_back(id);
  return ids;
}

absl::StatusOr<std::vector<RunRecord>> MemoryRunStore::List() const {
  std::vector<RunRecord> records;
  for (const auto& [id, row] : rows_) {
    records.push_back(row.run);
    records.back().layout_json.clear();
    records.back().base_model_json.clear();
  }
  return records;
}

absl::Status MemoryRunStore::SaveRelease(const RunId& id, const NewRelease& release) {
  Row* row = Open(id);
  const int64_t round = release.record.summary.round;
  if (row == nullptr || row->run.rounds_done != round) {
    return absl::AbortedError("the run is not at this round any more");
  }
  row->run.state = RunState::kRunning;
  row->run.rounds_done = round + 1;
  row->run.attempts_opened = 0;
  row->journal.clear();
  if (!release.journal.empty()) row->journal.push_back(release.journal);
  row->run.adapter = release.record.adapter;
  row->run.traffic = release.traffic;
  Keep(release.adapter);
  row->run.optimizer_state.reset();
  if (!release.optimizer_state.empty()) row->run.optimizer_state = Keep(release.optimizer_state);
  row->releases.push_back(release.record);
  for (const ContributionRecord& contribution : release.contributions) {
    ++row->contributed[contribution.institution];
  }
  const auto& evaluation = release.record.summary.evaluation;
  if (evaluation.has_value()) row->evaluations[evaluation->round] = *evaluation;
  on_release_(release);
  return absl::OkStatus();
}

absl::Status MemoryRunStore::SaveClients(const RunId& id, const std::vector<ClientView>& clients) {
  std::vector<ClientView>& stored = rows_[id].clients;
  for (const ClientView& client : clients) {
    const auto place = std::lower_bound(
        stored.begin(), stored.end(), client,
        [](const ClientView& a, const ClientView& b) { return a.institution < b.institution; });
    if (place != stored.end() && place->institution == client.institution) {
      *place = client;
    } else {
      stored.insert(place, client);
    }
  }
  return absl::OkStatus();
}

absl::Status MemoryRunStore::OpenJournal(const RunId& id, int64_t attempt, std::string_view entry) {
  Row* row = Open(id);
  if (row == nullptr) return absl::AbortedError("the run is not under way any more");
  row->run.state = RunState::kRunning;
  row->run.attempts_opened = attempt;
  row->journal = {std::string(entry)};
  return absl::OkStatus();
}

absl::Status MemoryRunStore::AppendToJournal(const RunId& id,
                                             const std::vector<std::string>& entries) {
  std::vector<std::string>& journal = rows_[id].journal;
  journal.insert(journal.end(), entries.begin(), entries.end());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> MemoryRunStore::Journal(const RunId& id) const {
  const auto found = rows_.find(id);
  return found == rows_.end() ? std::vector<std::string>() : found->second.journal;
}

absl::Status MemoryRunStore::SetPause(const RunId& id, const std::optional<std::string>& reason) {
  Row* row = Open(id);
  if (row == nullptr) return absl::AbortedError("the run is not under way any more");
  row->run.pause = reason;
  return absl::OkStatus();
}

absl::Status MemoryRunStore::RequestStop(const RunId& id, const std::string& reason) {
  Row* row = Open(id);
  if (row != nullptr && !row->run.stop.has_value()) row->run.stop = reason;
  return absl::OkStatus();
}

absl::Status MemoryRunStore::End(const RunId& id, const RunEnding& ending) {
  Row* row = Open(id);
  if (row == nullptr) return absl::OkStatus();
  row->run.state = ending.state;
  row->run.reason = ending.reason;
  row->journal.clear();
  row->run.ended_at = ending.ended_at;
  row->run.pause.reset();
  if (ending.state == RunState::kFinished) row->run.optimizer_state.reset();
  row->run.traffic = ending.traffic;
  row->clients = ending.clients;
  if (ending.last_evaluation.has_value()) {
    row->evaluations[ending.last_evaluation->round] = *ending.last_evaluation;
  }
  return absl::OkStatus();
}

absl::Status MemoryRunStore::Reopen(const RunId& id, std::string_view entry) {
  const auto found = rows_.find(id);
  if (found == rows_.end() || !HasEnded(found->second.run.state) ||
      found->second.run.state == RunState::kFinished) {
    return absl::AbortedError("the run has neither failed nor been stopped");
  }
  RunRecord& run = found->second.run;
  run.state = run.rounds_done + run.attempts_opened > 0 ? RunState::kRunning : RunState::kInviting;
  run.reason.clear();
  run.ended_at.reset();
  run.stop.reset();
  for (ClientView& client : found->second.clients) {
    if (client.state != ClientStanding::kDeclined) continue;
    client.state = ClientStanding::kInvited;
    client.reason.clear();
  }
  found->second.journal = {std::string(entry)};
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ReleaseRecord>> MemoryRunStore::Releases(const RunId& id) const {
  const auto found = rows_.find(id);
  return found == rows_.end() ? std::vector<ReleaseRecord>() : found->second.releases;
}

absl::StatusOr<std::vector<ClientView>> MemoryRunStore::Clients(const RunId& id) const {
  const auto found = rows_.find(id);
  if (found == rows_.end()) return std::vector<ClientView>();
  std::vector<ClientView> clients = found->second.clients;
  for (ClientView& client : clients) {
    const auto counted = found->second.contributed.find(client.institution);
    client.rounds_contributed = counted == found->second.contributed.end() ? 0 : counted->second;
  }
  return clients;
}

absl::StatusOr<std::vector<EvaluationSummary>> MemoryRunStore::Evaluations(const RunId& id) const {
  std::vector<EvaluationSummary> evaluations;
  const auto found = rows_.find(id);
  if (found == rows_.end()) return evaluations;
  for (const auto& [round, evaluation] : found->second.evaluations) {
    evaluations.push_back(evaluation);
  }
  return evaluations;
}

absl::StatusOr<Blob> MemoryRunStore::GetBlob(const Digest& digest) const {
  const auto found = blobs_.find(digest);
  if (found == blobs_.end()) return absl::NotFoundError("there is no such blob");
  auto content = std::make_shared<const std::string>(found->second);
  const auto bytes = std::as_bytes(std::span(*content));
  return Blob(std::move(content), bytes);
}

}  // namespace fedtune::simulation
