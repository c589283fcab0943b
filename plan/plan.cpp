// SPDX-License-Identifier: Apache-2.0

#include "plan/plan.h"

namespace fedtune {

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

std::string_view ToString(ServerOptimizer optimizer) {
  switch (optimizer) {
    case ServerOptimizer::kAverage:
      return "average";
    case ServerOptimizer::kMomentum:
      return "momentum";
    case ServerOptimizer::kAdam:
      return "adam";
  }
  return "unknown";
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
