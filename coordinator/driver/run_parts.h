// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/driver/run_driver.h"
#include "coordinator/storage/federation_store.h"
#include "coordinator/storage/run_store.h"

namespace fedtune {

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
absl::StatusOr<RunDriver::Parts> PartsOfNewRun(const StartRequest& request, RunId id,
                                               const FederationStore& catalogue, absl::Time now);

// Puts a stored run together again, as it was after its last release.
//
// INTERNAL or DATA_LOSS: what is stored does not fit together; says what.
absl::StatusOr<RunDriver::Parts> PartsOfStoredRun(const RunRecord& record, const RunStore& store);

// The same of a run that failed or was stopped, to go on with it.
//
// FAILED_PRECONDITION: it has finished, or what it needs was not kept.
absl::StatusOr<RunDriver::Parts> PartsOfRetriedRun(const RunRecord& record, const RunStore& store);

// FAILED_PRECONDITION: the plan aggregates securely, and there is no roster, or the plan's
// suite is not offered here; says what to do. Null: there is none.
absl::Status CheckCanAggregate(const Plan& plan, const SigningRoster* roster);

}  // namespace fedtune
