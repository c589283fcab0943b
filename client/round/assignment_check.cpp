// SPDX-License-Identifier: Apache-2.0

#include "client/round/assignment_check.h"

#include <algorithm>

#include "fmt/format.h"
#include "plan/evaluated_rounds.h"
#include "plan/plan_limits.h"

namespace fedtune {

absl::Status CheckAssignment(const Assignment& assignment, const Plan& plan) {
  const int64_t round = assignment.id.round;
  const int64_t count = plan.rounds.count;
  if (round < 0 || round > count || (round == count && !assignment.evaluate_only)) {
    return absl::InvalidArgumentError(
        fmt::format("the coordinator assigned round {} of a plan with {}",
                    std::min(round, kMostRounds) + 1, count));
  }
  if (round < count && assignment.evaluate_only) {
    return absl::InvalidArgumentError(fmt::format(
        "the coordinator asked for an evaluation alone in round {}, and the plan has one after its "
        "{} rounds",
        round + 1, count));
  }
  if (assignment.factors != TrainedFactors(plan.aggregation.method, round)) {
    return absl::InvalidArgumentError(fmt::format(
        "the coordinator assigned factors that the plan's method, {}, does not train in round {}",
        ToString(plan.aggregation.method), round + 1));
  }
  if (assignment.evaluate != Evaluates(plan, round)) {
    return absl::InvalidArgumentError(
        fmt::format("the coordinator wants {} evaluation in round {}, unlike the plan",
                    assignment.evaluate ? "an" : "no", round + 1));
  }
  return absl::OkStatus();
}

}  // namespace fedtune
