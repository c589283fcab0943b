// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "cli/coordinator_connection.h"
#include "plan/plan.h"
#include "privacy/crypto/sha256.h"
#include "proto/fedtune/v1/administration.pb.h"

namespace fedtune {

// What a run has released last; its values are still to be fetched.
struct Release {
  v1::RunStatus run;
  Digest digest;
  Plan plan;
  AdapterLayout layout;
};

// FAILED_PRECONDITION: no round is done. INVALID_ARGUMENT: the answer is not of a run.
// RESOURCE_EXHAUSTED: its values have no room in memory. Others as of
// CoordinatorConnection::GetRun().
absl::StatusOr<Release> FindNewestRelease(const CoordinatorConnection& connection,
                                          const std::string& run_id);

// Its values, with progress on stderr. The coordinator keeps a few of a run's releases: if it
// has let this one go meanwhile, `release` becomes the newest, and the values are of that.
// NOT_FOUND: the coordinator does not have the run's newest. DATA_LOSS: what came is not what
// was asked for. Others as of FindNewestRelease() and CoordinatorConnection::FetchBlob().
absl::StatusOr<std::vector<float>> FetchValues(const CoordinatorConnection& connection,
                                               Release& release);

}  // namespace fedtune
