// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/cipher_suite.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/neighbor_graph.h"
#include "privacy/secure_aggregation/ring.h"

namespace fedtune {

// With two clients each could subtract itself from the sum.
inline constexpr int kLeastCohort = 3;
// Everyone shares with everyone up to here, with some neighbours beyond.
inline constexpr int kLargestCompleteGraph = 200;
inline constexpr int kMostClients = 10'000;
inline constexpr int64_t kMostElements = int64_t{1} << 36;

// What all that take part in one secure aggregation must agree on before it
// begins. It follows from the plan and from the round; whoever has another idea
// of it has another session id, and nobody accepts a signature of theirs.
struct SessionParameters {
  std::string federation;
  std::string run;
  int64_t round = 0;
  int64_t attempt = 1;
  CipherSuite suite = CipherSuite::kCurve25519;
  RingBits ring = RingBits::k32;
  int64_t element_count = 0;  // Of the vector that every client masks.
  Digest plan = {};           // Of all else that the round is: plan, layout, factors, quantiser.
  Digest roster = {};         // SigningRoster::digest().
  int min_cohort = 5;         // Clients below which nothing is released.
  int max_cohort = kMostClients;  // Whose sum the ring holds; `plan` says it, too.
  int assumed_corrupt = 0;        // Clients that may side with a lying coordinator.
};

// INVALID_ARGUMENT: a number is out of its range; says which.
absl::Status CheckSessionParameters(const SessionParameters& parameters);

// SHA-256 over the canonical encoding of all of them: "sid" in the protocol.
Digest SessionId(const SessionParameters& parameters);

// Shares that rebuild a secret of one of `clients` clients that all share with
// each other: two thirds and one, so that with 2t > n + c two disjoint sets of
// clients can never be told two different stories.
constexpr int CompleteGraphThreshold(int clients) { return 2 * clients / 3 + 1; }

// Who shares secrets with whom among the clients of a session, in the order of
// their roster numbers.
struct CohortShape {
  NeighborGraph graph;
  int threshold = 0;        // Shares that rebuild a secret.
  int least_survivors = 0;  // Clients below which the session is given up.
};

// A pure function of public values, so that every client makes it itself. `root`
// is the Merkle root over the clients' advertisements: in a sparse graph nobody
// chooses who is whose neighbour.
//
// FAILED_PRECONDITION: fewer clients than the parameters ask for, or more than they
// allow, or a threshold that does not hold against `assumed_corrupt` clients on the
// coordinator's side.
absl::StatusOr<CohortShape> ShapeOf(const SessionParameters& parameters, int clients,
                                    const Digest& root);

}  // namespace fedtune
