// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <stop_token>

#include "absl/status/statusor.h"
#include "client/round/coordinator_link.h"
#include "client/transport/connection.h"

namespace fedtune {

// See CoordinatorLink::ProveLog().
absl::StatusOr<LogProof> ProveLog(const ConnectionGiver& connection, const LogQuestion& question,
                                  const std::stop_token& stop);

}  // namespace fedtune
