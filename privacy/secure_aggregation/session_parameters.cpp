// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/session_parameters.h"

#include <algorithm>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/secure_aggregation/graph_parameters.h"

namespace fedtune {
namespace {

// Of a sparse graph: the share of clients that may drop out.
constexpr double kBorneDrops = 0.1;

absl::Status CheckRange(std::string_view what, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("secure aggregation: {} is {}, allowed are {} to {}", what, value, least, most));
}

Digest PlanHash(const SessionParameters& parameters) {
  CanonicalWriter writer;
  writer.Sized("ffl/v1/plan")
      .Fixed(parameters.plan)
      .Fixed(parameters.roster)
      .U8(static_cast<uint8_t>(parameters.ring))
      .U64(static_cast<uint64_t>(parameters.element_count))
      .U32(static_cast<uint32_t>(parameters.min_cohort))
      .U32(static_cast<uint32_t>(parameters.assumed_corrupt));
  return Sha256Of(ByteSpan(writer.bytes()));
}

absl::StatusOr<CohortShape> CompleteShape(const SessionParameters& parameters, int clients) {
  const int threshold = CompleteGraphThreshold(clients);
  if (2 * threshold <= clients + parameters.assumed_corrupt) {
    return absl::FailedPreconditionError(fmt::format(
        "among {} clients {} may not be assumed to side with the coordinator: the threshold of {} "
        "shares holds against {} at most",
        clients, parameters.assumed_corrupt, threshold, 2 * threshold - clients - 1));
  }
  return CohortShape{NeighborGraph::Complete(clients), threshold,
                     std::max(threshold, parameters.min_cohort)};
}

absl::StatusOr<CohortShape> SparseShape(const SessionParameters& parameters, int clients,
                                        const Digest& root) {
  const double corrupt = static_cast<double>(parameters.assumed_corrupt) / clients;
  const absl::StatusOr<GraphParameters> found =
      FindGraphParameters(clients, corrupt, kBorneDrops, Adversary::kSemiMalicious);
  if (!found.ok()) {
    return absl::FailedPreconditionError(
        fmt::format("among {} clients {} may not be assumed to side with the coordinator: {}",
                    clients, parameters.assumed_corrupt, Message(found.status())));
  }
  return CohortShape{NeighborGraph::Harary(clients, found->degree, root), found->threshold,
                     std::max(found->threshold, parameters.min_cohort)};
}

}  // namespace

absl::Status CheckSessionParameters(const SessionParameters& parameters) {
  RETURN_IF_ERROR(CheckRange("the vector's size", parameters.element_count, 1, kMostElements));
  RETURN_IF_ERROR(
      CheckRange("the least cohort", parameters.min_cohort, kLeastCohort, kMostClients));
  RETURN_IF_ERROR(CheckRange("the number of clients assumed corrupt", parameters.assumed_corrupt, 0,
                             kMostClients));
  RETURN_IF_ERROR(CheckRange("the round", parameters.round, 0, INT64_MAX));
  return CheckRange("the attempt", parameters.attempt, 1, UINT32_MAX);
}

Digest SessionId(const SessionParameters& parameters) {
  CanonicalWriter writer;
  writer.Sized("ffl/v1/sid")
      .Sized(parameters.federation)
      .Sized(parameters.run)
      .U64(static_cast<uint64_t>(parameters.round))
      .U32(static_cast<uint32_t>(parameters.attempt))
      .U8(static_cast<uint8_t>(parameters.suite))
      .Fixed(PlanHash(parameters));
  return Sha256Of(ByteSpan(writer.bytes()));
}

absl::StatusOr<CohortShape> ShapeOf(const SessionParameters& parameters, int clients,
                                    const Digest& root) {
  const int least = std::max(parameters.min_cohort, kLeastCohort);
  if (clients < least) {
    return absl::FailedPreconditionError(fmt::format(
        "{} clients are too few for a secure aggregation: {} are needed", clients, least));
  }
  const int most = std::min(parameters.max_cohort, kMostClients);
  if (clients > most) {
    return absl::FailedPreconditionError(
        fmt::format("{} clients are too many for a secure aggregation: its ring holds the sum of "
                    "{} (max_cohort)",
                    clients, most));
  }
  return clients <= kLargestCompleteGraph ? CompleteShape(parameters, clients)
                                          : SparseShape(parameters, clients, root);
}

}  // namespace fedtune
