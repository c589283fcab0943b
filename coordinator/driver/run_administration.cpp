// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/run_administration.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "plan/plan.h"
#include "plan/secure_vector.h"
#include "privacy/crypto/hex.h"
#include "privacy/crypto/random_bytes.h"

namespace fedtune {
namespace {

constexpr size_t kMaxRequestIdLength = 128;
constexpr int kTries = 20;

// What a stored run that has ended looks like; clients and releases are left to
// the caller.
RunView ViewOf(const RunRecord& record) {
  RunView view;
  view.state = record.state;
  view.reason = record.reason;
  view.rounds_done = record.rounds_done;
  view.round_count = record.round_count;
  view.adapter = record.adapter;
  return view;
}

// As Run says while it is under way. A plan of an older program that this one does not
// take any more weighs nothing.
void FillWeights(const RunRecord& record, std::vector<ClientView>& clients) {
  const absl::StatusOr<Plan> plan = ParsePlan(record.plan_toml, "plan.toml");
  if (!plan.ok() || plan->aggregation.mode == AggregationMode::kSecure) return;
  for (ClientView& client : clients) {
    if (client.accepted) client.weight = ContributionWeight(*plan, client.example_count);
  }
}

bool HasAccepted(const RunDriver& run, const Institution& institution) {
  const std::vector<ClientView> clients = run.overview().view.clients;
  return std::any_of(clients.begin(), clients.end(), [&](const ClientView& client) {
    return client.institution == institution && client.accepted;
  });
}

}  // namespace

absl::StatusOr<RunOverview> RunAdministration::Start(const StartRequest& request) {
  if (request.request_id.empty() || request.request_id.size() > kMaxRequestIdLength) {
    return absl::InvalidArgumentError(
        fmt::format("request_id must have 1 to {} characters", kMaxRequestIdLength));
  }
  const std::lock_guard lock(starting_);
  ASSIGN_OR_RETURN(const std::optional<RunRecord> started,
                   parts_.run_store.FindByRequest(request.request_id));
  return started.has_value() ? Get(started->id) : StartNew(request);
}

absl::StatusOr<RunOverview> RunAdministration::StartNew(const StartRequest& request) {
  ASSIGN_OR_RETURN(RunId id, NewRunId());
  ASSIGN_OR_RETURN(RunParts parts, PartsOfNewRun(request, std::move(id), parts_.federation_store,
                                                 parts_.clock.Now()));
  if (!request.base_model_json.empty()) RETURN_IF_ERROR(AddToCatalogue(parts.record));
  ASSIGN_OR_RETURN(const std::shared_ptr<RunDriver> driver, parts_.runs.Start(std::move(parts)));
  return driver->overview();
}

absl::Status RunAdministration::AddToCatalogue(const RunRecord& run) const {
  return parts_.federation_store.SaveModel({.name = run.base_model,
                                            .digest = run.base_digest,
                                            .base_model_json = run.base_model_json,
                                            .added = run.started_at});
}

// Short enough to be typed, longer when those are used up.
absl::StatusOr<RunId> RunAdministration::NewRunId() const {
  for (int i = 0; i < kTries; ++i) {
    RunId id{fmt::format("run-{}", ToHex(RandomBytes(i < kTries / 2 ? 2 : 8)))};
    const absl::Status known = parts_.run_store.Get(id).status();
    if (absl::IsNotFound(known)) return id;
    RETURN_IF_ERROR(known);
  }
  return absl::InternalError("no free run id was found");
}

absl::StatusOr<RunOverview> RunAdministration::Stop(const RunId& run, std::string reason) {
  if (const auto driver = parts_.runs.Find(run)) {
    RETURN_IF_ERROR(driver->Stop(std::move(reason)));
    return driver->overview();
  }
  return Get(run);
}

// The run, if it can still be told something.
absl::StatusOr<std::shared_ptr<RunDriver>> RunAdministration::UnderWay(const RunId& run) const {
  if (auto driver = parts_.runs.Find(run)) return driver;
  ASSIGN_OR_RETURN(const RunRecord record, parts_.run_store.Get(run));
  return AlreadyEnded(run, record.state);
}

absl::StatusOr<RunOverview> RunAdministration::Pause(const RunId& run, std::string reason) {
  ASSIGN_OR_RETURN(const std::shared_ptr<RunDriver> driver, UnderWay(run));
  RETURN_IF_ERROR(driver->Pause(std::move(reason)));
  return driver->overview();
}

absl::StatusOr<RunOverview> RunAdministration::Resume(const RunId& run) {
  ASSIGN_OR_RETURN(const std::shared_ptr<RunDriver> driver, UnderWay(run));
  RETURN_IF_ERROR(driver->Resume());
  return driver->overview();
}

absl::StatusOr<RunOverview> RunAdministration::Retry(const RunId& run) {
  const std::lock_guard lock(starting_);
  if (const auto driver = parts_.runs.Find(run)) {
    RunOverview overview = driver->overview();
    if (!HasEnded(overview.view.state)) return overview;
    return absl::UnavailableError(
        fmt::format("the end of {} is not stored yet; try again in a moment", run.value));
  }
  ASSIGN_OR_RETURN(const RunRecord record, parts_.run_store.Get(run));
  ASSIGN_OR_RETURN(RunParts parts, PartsOfRetriedRun(record, parts_.run_store));
  ASSIGN_OR_RETURN(const std::shared_ptr<RunDriver> driver, parts_.runs.Start(std::move(parts)));
  return driver->overview();
}

absl::StatusOr<RunId> RunAdministration::Resolve(std::string_view prefix) const {
  if (prefix.empty()) return absl::InvalidArgumentError("give the id of a run, as in run-7f3a");
  ASSIGN_OR_RETURN(const std::vector<RunId> runs, parts_.run_store.Ids());
  std::vector<std::string> found;
  for (const RunId& run : runs) {
    if (run.value == prefix) return run;
    if (run.value.starts_with(prefix)) found.push_back(run.value);
  }
  if (found.empty()) {
    return absl::NotFoundError(
        fmt::format("there is no run {}; fedtune run list shows them all", prefix));
  }
  if (found.size() == 1) return RunId{found.front()};
  return absl::InvalidArgumentError(
      fmt::format("{} fits several runs: {}", prefix, fmt::join(found, ", ")));
}

absl::StatusOr<std::vector<RunOverview>> RunAdministration::List() const {
  ASSIGN_OR_RETURN(const std::vector<RunRecord> records, parts_.run_store.List());
  std::vector<RunOverview> runs;
  for (const RunRecord& record : records) {
    const auto driver = parts_.runs.Find(record.id);
    if (driver != nullptr) {
      runs.push_back(driver->overview());
    } else {
      ASSIGN_OR_RETURN(RunOverview ended, EndedRun(record));
      ASSIGN_OR_RETURN(ended.view.clients, parts_.run_store.Clients(record.id));
      runs.push_back(std::move(ended));
    }
  }
  return runs;
}

absl::StatusOr<RunOverview> RunAdministration::EndedRun(RunRecord record) const {
  RunOverview overview;
  overview.view = ViewOf(record);
  ASSIGN_OR_RETURN(const std::vector<EvaluationSummary> evaluations,
                   parts_.run_store.Evaluations(record.id));
  if (!evaluations.empty()) {
    overview.view.first_evaluation = evaluations.front();
    overview.view.last_evaluation = evaluations.back();
  }
  overview.record = std::move(record);
  return overview;
}

absl::StatusOr<RunOverview> RunAdministration::Get(const RunId& run) const {
  if (const auto driver = parts_.runs.Find(run)) return driver->overview();
  ASSIGN_OR_RETURN(RunRecord record, parts_.run_store.Get(run));
  ASSIGN_OR_RETURN(RunOverview overview, EndedRun(std::move(record)));
  ASSIGN_OR_RETURN(overview.view.clients, parts_.run_store.Clients(run));
  FillWeights(overview.record, overview.view.clients);
  ASSIGN_OR_RETURN(const std::vector<ReleaseRecord> releases, parts_.run_store.Releases(run));
  if (!releases.empty()) {
    overview.last_release = releases.back();
    overview.view.last_round = releases.back().summary;
  }
  return overview;
}

absl::StatusOr<std::vector<ReleaseRecord>> RunAdministration::Releases(const RunId& run) const {
  return parts_.run_store.Releases(run);
}

void RunAdministration::Watch(const RunId& run, std::weak_ptr<RunWatcher> watcher) const {
  if (const auto driver = parts_.runs.Find(run)) driver->Watch(std::move(watcher));
}

absl::StatusOr<std::vector<ClientOverview>> RunAdministration::Clients() const {
  ASSIGN_OR_RETURN(const std::vector<ClientRecord> records, parts_.clients.All());
  const auto runs = parts_.runs.All();
  std::vector<ClientOverview> clients;
  for (const ClientRecord& record : records) {
    ClientOverview client;
    client.record = record;
    client.connected = parts_.lines.IsConnected(record.institution);
    if (client.connected) client.record.last_seen = parts_.clock.Now();
    for (const auto& run : runs) {
      if (HasAccepted(*run, record.institution)) client.runs.push_back(run->id());
    }
    clients.push_back(std::move(client));
  }
  return clients;
}

absl::StatusOr<std::vector<ModelRecord>> RunAdministration::Models() const {
  return parts_.federation_store.Models();
}

}  // namespace fedtune
