// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/driver/active_runs.h"
#include "coordinator/driver/clients/client_lines.h"
#include "coordinator/driver/clients/client_records.h"
#include "coordinator/driver/run_overview.h"
#include "coordinator/driver/run_parts.h"
#include "coordinator/storage/federation_store.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

// A client as administrators see it.
struct ClientOverview {
  ClientRecord record;
  bool connected = false;
  std::vector<RunId> runs;  // Under way, and accepted by it.
};

// Everything that administrators do with the coordinator, once it is known who
// they are. Thread-safe. Errors that are not named: of the store.
class RunAdministration {
 public:
  // What it refers to must outlive it.
  struct Parts {
    const ClientLines& lines;
    ActiveRuns& runs;
    RunStore& run_store;
    FederationStore& federation_store;
    const ClientRecords& clients;
    const Clock& clock;
  };

  explicit RunAdministration(Parts parts) : parts_(parts) {}

  // Starts a run, or finds the one that this request has started before.
  //
  // INVALID_ARGUMENT: the plan, or the plan with this base model, cannot work.
  // FAILED_PRECONDITION: fewer clients are connected than the quorum.
  absl::StatusOr<RunOverview> Start(const StartRequest& request);

  // Stopping an ended run does nothing. Errors as RunDriver::Stop().
  absl::StatusOr<RunOverview> Stop(const RunId& run, std::string reason);

  // NOT_FOUND: no such run. FAILED_PRECONDITION: it has ended.
  absl::StatusOr<RunOverview> Pause(const RunId& run, std::string reason);
  absl::StatusOr<RunOverview> Resume(const RunId& run);

  // Goes on with a run that failed or was stopped; one that is under way is left alone.
  //
  // NOT_FOUND: no such run. FAILED_PRECONDITION: it has finished, fewer clients are
  // connected than the quorum, or what it needs was not kept. UNAVAILABLE: its end is
  // not stored yet.
  absl::StatusOr<RunOverview> Retry(const RunId& run);

  // The run that `prefix` means.
  // NOT_FOUND: none. INVALID_ARGUMENT: several; names them.
  absl::StatusOr<RunId> Resolve(std::string_view prefix) const;

  // Newest first. Those that have ended are without their last release and round.
  absl::StatusOr<std::vector<RunOverview>> List() const;

  // NOT_FOUND: no such run.
  absl::StatusOr<RunOverview> Get(const RunId& run) const;
  absl::StatusOr<std::vector<ReleaseRecord>> Releases(const RunId& run) const;

  // Tells the watcher of changes; never of a run that has ended.
  void Watch(const RunId& run, std::weak_ptr<RunWatcher> watcher) const;

  absl::StatusOr<std::vector<ClientOverview>> Clients() const;
  absl::StatusOr<std::vector<ModelRecord>> Models() const;

 private:
  absl::StatusOr<std::shared_ptr<RunDriver>> UnderWay(const RunId& run) const;
  absl::StatusOr<RunOverview> StartNew(const StartRequest& request);
  absl::StatusOr<RunId> NewRunId() const;
  absl::StatusOr<RunOverview> EndedRun(RunRecord record) const;
  absl::Status AddToCatalogue(const RunRecord& run) const;

  const Parts parts_;
  std::mutex starting_;
};

}  // namespace fedtune
