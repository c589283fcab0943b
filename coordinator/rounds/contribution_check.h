// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "aggregation/round_counters.h"
#include "coordinator/rounds/run_events.h"

namespace fedtune {

// What a contribution to the open round must say of itself.
struct ExpectedContribution {
  Digest adapter;
  Digest layout;
  FactorSet factors = FactorSet::kBoth;
  int64_t value_count = 0;     // Of `factors`.
  bool evaluate_only = false;  // Nothing was trained: no factors, no bytes.
  RoutingShape routing = {};   // What is counted of it.
};

// Whether `header` fits. The round, the attempt and the sender are the caller's
// to check.
//
// FAILED_PRECONDITION: trained from another adapter. INVALID_ARGUMENT: another
// layout, factors or size, or metrics that cannot be.
absl::Status CheckHeader(const ContributionHeader& header, const ExpectedContribution& expected);

}  // namespace fedtune
