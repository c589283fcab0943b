// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "aggregation/masked_layout.h"
#include "aggregation/round_counters.h"
#include "plan/plan.h"

namespace fedtune {

// The vector that every client of a secure round masks, of as many adapter values
// as the round trains; 0 when it only evaluates. Clients and the coordinator each
// make it from the plan.
//
// INVALID_ARGUMENT: the ring is too small for the cohort, with the numbers; no
// plan that ParsePlan() has accepted.
absl::StatusOr<MaskedLayout> MaskedLayoutOf(const SecurePlan& secure, int64_t value_count,
                                            RoutingShape routing = {});

// What a client weighs in a round: its examples up to the plan's limit, or 1.
int64_t ContributionWeight(const Plan& plan, int64_t example_count);

}  // namespace fedtune
