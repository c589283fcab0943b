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
  if (plan.aggregation.mode == AggregationMode::kPlain) return example_count;
  return std::min(example_count, plan.secure.max_weight);
}

}  // namespace fedtune
