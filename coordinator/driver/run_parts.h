// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "coordinator/driver/release/global_adapter.h"
#include "coordinator/driver/release/stored_optimizer_state.h"
#include "coordinator/rounds/run.h"
#include "coordinator/storage/federation_store.h"
#include "coordinator/storage/run_store.h"
#include "plan/plan.h"
#include "plan/routing_shape.h"

namespace fedtune {

// What a run is put together from.
struct RunParts {
  RunRecord record;
  Plan plan;
  AdapterLayout layout;
  RoutingShape routing;                  // Of the base model.
  std::optional<GlobalAdapter> adapter;  // The newest; always set.
  StoredOptimizerState optimizer;        // As it was after that one.
  std::optional<ResumePoint> resume;     // None: the run is new.
  std::vector<std::string> journal;      // Of the open attempt, as stored.
  std::optional<ReleaseRecord> last_release;
};

// What an administrator sends to start a run.
struct StartRequest {
  std::string request_id;
  std::string plan_toml;
  std::string base_model_json;  // Empty: the plan's base model is in the catalogue.
  std::string started_by;
};

// Works out what a new run needs: plan, layout, initial adapter.
//
// INVALID_ARGUMENT: the plan, or the plan with this base model, cannot work.
absl::StatusOr<RunParts> PartsOfNewRun(const StartRequest& request, RunId id,
                                       const FederationStore& catalogue, absl::Time now);

// Puts a stored run together again, as it was after its last release.
//
// INTERNAL or DATA_LOSS: what is stored does not fit together; says what.
absl::StatusOr<RunParts> PartsOfStoredRun(const RunRecord& record, const RunStore& store);

// The same of a run that failed or was stopped, to go on with it.
//
// FAILED_PRECONDITION: it has finished, or what it needs was not kept.
absl::StatusOr<RunParts> PartsOfRetriedRun(const RunRecord& record, const RunStore& store);

}  // namespace fedtune
