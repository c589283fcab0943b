// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/active_runs.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "base/exit_code.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "coordinator/driver/roster_setting.h"
#include "coordinator/driver/run_overview.h"
#include "coordinator/driver/run_parts.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr int kThreads = 2;
constexpr size_t kEndedRunsKept = 16;

}  // namespace

ActiveRuns::Queues ActiveRuns::Threads(const Clock& clock) {
  return {.work = std::make_unique<ThreadedWorkQueue>(kThreads),
          .timers = std::make_unique<ThreadedTimerQueue>(clock)};
}

RunSurroundings ActiveRuns::Surroundings() {
  return {.store = parts_.store,
          .spool = parts_.spool,
          .lines = parts_.lines,
          .signing_roster = parts_.signing_roster,
          .work = *queues_.work,
          .timers = *queues_.timers,
          .clock = parts_.clock,
          .log = parts_.log,
          .store_again = parts_.store_again,
          .on_ended = [this](const RunId& id) { MoveToEnded(id); }};
}

// In the map before it begins: no change of a connection is missed between.
absl::StatusOr<std::shared_ptr<RunDriver>> ActiveRuns::Start(RunParts parts) {
  const std::shared_ptr<RunDriver> driver = RunDriver::Create(std::move(parts), Surroundings());
  {
    const std::lock_guard lock(mutex_);
    if (!runs_.emplace(driver->id(), driver).second) {
      return absl::AlreadyExistsError(fmt::format("{} is under way", driver->id().value));
    }
  }
  const absl::Status begun = driver->Begin();
  const std::lock_guard lock(mutex_);
  if (begun.ok()) {
    // Of a run that is tried again: nobody is to hear any more that it had ended.
    std::erase_if(ended_, [&](const auto& old) { return old->id() == driver->id(); });
    return driver;
  }
  runs_.erase(driver->id());
  return begun;
}

absl::Status ActiveRuns::ResumeAll() {
  ASSIGN_OR_RETURN(const std::vector<RunRecord> records, parts_.store.List());
  RETURN_IF_ERROR(CheckCanResume(records));
  std::set<std::string> under_way;
  for (const RunRecord& record : records) {
    if (!HasEnded(record.state)) under_way.insert(record.id.value);
  }
  RETURN_IF_ERROR(parts_.spool.RemoveAllBut(under_way));
  for (const RunRecord& record : records) {
    if (HasEnded(record.state)) continue;
    const absl::Status resumed = Resume(record.id);
    // Of files that another user has left; whoever may read them goes on.
    if (absl::IsPermissionDenied(resumed)) {
      return Annotate(resumed, fmt::format("{} cannot go on", record.id.value));
    }
    if (!resumed.ok()) RETURN_IF_ERROR(Fail(record, resumed));
  }
  const std::lock_guard lock(mutex_);
  all_resumed_ = true;
  return absl::OkStatus();
}

// What a wrong configuration lacks may be there at the next start: no run is given up for
// that.
absl::Status ActiveRuns::CheckCanResume(const std::vector<RunRecord>& records) const {
  for (const RunRecord& record : records) {
    if (HasEnded(record.state)) continue;
    const absl::StatusOr<Plan> plan = ParsePlan(record.plan_toml, "plan.toml");
    if (!plan.ok()) continue;
    const absl::Status can = CheckCanAggregate(*plan, parts_.signing_roster.get());
    if (!can.ok()) {
      return WithExitCode(Annotate(can, fmt::format("{} cannot go on", record.id.value)),
                          ExitCode::kUsage);
    }
  }
  return absl::OkStatus();
}

absl::Status ActiveRuns::Resume(const RunId& id) {
  ASSIGN_OR_RETURN(const RunRecord record, parts_.store.Get(id));
  ASSIGN_OR_RETURN(RunParts parts, PartsOfStoredRun(record, parts_.store));
  return Start(std::move(parts)).status();
}

absl::Status ActiveRuns::Fail(const RunRecord& record, const absl::Status& why) {
  const std::string reason =
      fmt::format("could not go on after the coordinator's restart: {}", Message(why));
  parts_.log.Error("run failed", {Field("run", record.id.value), Field("reason", reason)});
  ASSIGN_OR_RETURN(std::vector<ClientView> clients, parts_.store.Clients(record.id));
  return parts_.store.End(record.id, {.state = RunState::kFailed,
                                      .reason = reason,
                                      .ended_at = parts_.clock.Now(),
                                      .clients = std::move(clients),
                                      .last_evaluation = {},
                                      .traffic = record.traffic});
}

std::shared_ptr<RunDriver> ActiveRuns::Find(const RunId& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = runs_.find(id);
  return found == runs_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<RunDriver>> ActiveRuns::All() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<RunDriver>> all;
  for (const auto& [id, driver] : runs_) all.push_back(driver);
  return all;
}

std::optional<std::vector<RunId>> ActiveRuns::UnderWayFor(const Institution& institution) const {
  const std::lock_guard lock(mutex_);
  if (!all_resumed_) return std::nullopt;
  std::vector<RunId> under_way;
  for (const auto& [id, driver] : runs_) {
    if (driver->Admits(institution)) under_way.push_back(id);
  }
  return under_way;
}

bool ActiveRuns::MayKnow(const Institution& institution, const RunId& run) const {
  const std::lock_guard lock(mutex_);
  const auto found = runs_.find(run);
  if (found != runs_.end()) return found->second->Admits(institution);
  return std::any_of(ended_.begin(), ended_.end(), [&](const auto& driver) {
    return driver->id() == run && driver->Admits(institution);
  });
}

std::optional<Blob> ActiveRuns::FetchAdapter(const Digest& digest) const {
  for (const auto& driver : All()) {
    std::optional<Blob> blob = driver->FetchAdapter(digest);
    if (blob.has_value()) return blob;
  }
  return std::nullopt;
}

void ActiveRuns::ConnectionChanged(const Institution& institution) const {
  std::vector<std::shared_ptr<RunDriver>> runs = All();
  {
    const std::lock_guard lock(mutex_);
    runs.insert(runs.end(), ended_.begin(), ended_.end());
  }
  for (const auto& driver : runs) driver->ConnectionChanged(institution);
}

void ActiveRuns::MoveToEnded(const RunId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = runs_.find(id);
  if (found == runs_.end()) return;
  ended_.push_back(std::move(found->second));
  runs_.erase(found);
  if (ended_.size() > kEndedRunsKept) ended_.pop_front();
}

void ActiveRuns::Shutdown() {
  queues_.timers->Stop();
  queues_.work->Stop();
}

}  // namespace fedtune
