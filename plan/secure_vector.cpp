// SPDX-License-Identifier: Apache-2.0

#include "plan/secure_vector.h"

#include <algorithm>

namespace fedtune {

absl::StatusOr<MaskedLayout> MaskedLayoutOf(const SecurePlan& secure, int64_t value_count,
                                            RoutingShape routing) {
  return MaskedLayout::Create({.ring = secure.ring,
                               .max_cohort = secure.max_cohort,
                               .clip = secure.clip,
                               .max_weight = secure.max_weight},
                              value_count, RoundCounters(secure.max_weight, routing));
}

int64_t ContributionWeight(const Plan& plan, int64_t example_count) {
  if (plan.aggregation.weights == ContributionWeights::kUniform) return 1;
  const bool secure = plan.aggregation.mode == AggregationMode::kSecure;
  const int64_t most = secure ? plan.secure.max_weight : plan.aggregation.max_weight;
  return most == 0 ? example_count : std::min(example_count, most);
}

}  // namespace fedtune
