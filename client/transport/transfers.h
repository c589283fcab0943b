// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "client/transport/connection.h"
#include "rpc/stall_watch.h"

namespace fedtune {

// One adapter and how to get it; see CoordinatorLink::FetchAdapter().
struct AdapterRequest {
  WantedAdapter wanted;
  std::stop_token stop;
  const TransferObserver& observer;
  // So long nothing may come before it is asked for anew; twice as long each time that did not
  // help, so that any line gets on.
  absl::Duration longest_silence = kLongestSilence;

  uint64_t size() const { return static_cast<uint64_t>(wanted.value_count) * sizeof(float); }
};

// Where the connection breaks, or nothing comes any more, it goes on where it was. Errors as
// CoordinatorLink::FetchAdapter().
absl::StatusOr<std::vector<float>> FetchAdapter(const ConnectionGiver& connection,
                                                AdapterRequest request);

// See CoordinatorLink::Submit().
absl::Status SubmitContribution(const Connection& connection,
                                std::shared_ptr<const Contribution> contribution,
                                const std::stop_token& stop);

// See CoordinatorLink::SubmitMasked().
absl::Status SubmitContribution(const Connection& connection,
                                std::shared_ptr<const MaskedContribution> contribution,
                                const std::stop_token& stop);

}  // namespace fedtune
