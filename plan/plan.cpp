// SPDX-License-Identifier: Apache-2.0

#include "plan/plan.h"

#include <algorithm>
#include <cmath>

namespace fedtune {

int64_t WeightOf(const Plan& plan, int64_t weight, int64_t staleness) {
  if (plan.rounds.stragglers == Stragglers::kDrop) return weight;
  constexpr double kParts = 256;
  const double share = kParts / std::sqrt(1 + static_cast<double>(staleness));
  return std::max<int64_t>(1, std::llround(static_cast<double>(weight) * share));
}

int64_t MostInCohort(const Plan& plan) {
  const bool secure = plan.aggregation.mode == AggregationMode::kSecure;
  return secure && plan.rounds.cohort_size == 0 ? plan.secure.max_cohort : plan.rounds.cohort_size;
}

FactorSet TrainedFactors(AggregationMethod method, int64_t round) {
  if (method == AggregationMethod::kFedit) return FactorSet::kBoth;
  return round % 2 == 0 ? FactorSet::kB : FactorSet::kA;
}

std::string_view ToString(AggregationMethod method) {
  switch (method) {
    case AggregationMethod::kFedit:
      return "fedit";
    case AggregationMethod::kAlternating:
      return "alternating";
  }
  return "unknown";
}

std::string_view ToString(AggregationMode mode) {
  return mode == AggregationMode::kSecure ? "secure" : "plain";
}

std::string_view ToString(LocalOptimizer optimizer) {
  switch (optimizer) {
    case LocalOptimizer::kAdamW:
      return "adamw";
    case LocalOptimizer::kSgd:
      return "sgd";
  }
  return "unknown";
}

}  // namespace fedtune
