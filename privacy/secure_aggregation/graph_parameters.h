// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "absl/status/statusor.h"

namespace fedtune {

// A sparse graph's number of neighbours and the shares that rebuild a secret.
struct GraphParameters {
  int degree = 0;
  int threshold = 0;

  friend bool operator==(const GraphParameters&, const GraphParameters&) = default;
};

// How bad the coordinator may be besides the corrupt clients.
enum class Adversary : uint8_t {
  kCurious,  // Follows the protocol.
  // Lies once keys and graph are set up. One that lies from the start counts alike, as
  // long as it cannot try many seeds of the graph.
  kSemiMalicious,
};

// The sparsest Harary graph in which, but for a chance of 2^-40, no client's
// secrets can be rebuilt by the corrupt share of clients (and an adversary's
// lies) and the honest survivors stay connected, and, but for a chance of 2^-20,
// enough neighbours survive the dropped share (Bell et al., CCS 2020, section 3).
//
// INVALID_ARGUMENT: shares outside [0, 1). NOT_FOUND: no graph is good enough.
absl::StatusOr<GraphParameters> FindGraphParameters(int clients, double corrupt_share,
                                                    double dropped_share, Adversary adversary);

}  // namespace fedtune
