// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <stop_token>

#include "absl/status/statusor.h"
#include "client/round/coordinator_link.h"
#include "client/transport/channel_giver.h"

namespace fedtune {

// See CoordinatorLink::ProveLog().
absl::StatusOr<LogProof> ProveLog(const ChannelGiver& channel, const LogQuestion& question,
                                  const std::stop_token& stop);

}  // namespace fedtune
