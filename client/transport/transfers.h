// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "proto/fedtune/v1/training.grpc.pb.h"

namespace fedtune {

// One blob and how to get it; see CoordinatorLink::FetchBlob().
struct BlobRequest {
  Digest digest;
  uint64_t size = 0;
  std::stop_token stop;
  const TransferObserver& observer;
};
absl::StatusOr<std::string> FetchBlob(v1::Training::Stub& stub, const BlobRequest& request);

// See CoordinatorLink::Submit().
absl::Status SubmitContribution(v1::Training::Stub& stub, const Contribution& contribution,
                                std::stop_token stop);

// See CoordinatorLink::SubmitMasked().
absl::Status SubmitContribution(v1::Training::Stub& stub, const MaskedContribution& contribution,
                                std::stop_token stop);

}  // namespace fedtune
