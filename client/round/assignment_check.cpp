// SPDX-License-Identifier: Apache-2.0

#include "client/round/assignment_check.h"

#include "fmt/format.h"
#include "plan/evaluated_rounds.h"

namespace fedtune {

absl::Status CheckAssignment(const Assignment& assignment, const Plan& plan) {
  const int64_t round = assignment.id.round;
  const int64_t count = plan.rounds.count;
  if (round < 0 || round > count || (round == count && !assignment.evaluate_only)) {
    return absl::InvalidArgumentError(fmt::format(
        "the coordinator assigned round {}, counted from 0, of a plan with {}", round, count));
  }
  if (round < count && assignment.evaluate_only) {
    return absl::InvalidArgumentError(fmt::format(
        "the coordinator asked for an evaluation alone in round {}, counted from 0, and the plan "
        "has one after its {} rounds",
        round, count));
  }
  if (assignment.factors != TrainedFactors(plan.aggregation.method, round)) {
    return absl::InvalidArgumentError(fmt::format(
        "the coordinator assigned factors that the plan's method, {}, does not train in round {}, "
        "counted from 0",
        ToString(plan.aggregation.method), round));
  }
  if (assignment.evaluate != Evaluates(plan, round)) {
    return absl::InvalidArgumentError(fmt::format(
        "the coordinator wants {} evaluation in round {}, counted from 0, unlike the plan",
        assignment.evaluate ? "an" : "no", round));
  }
  return absl::OkStatus();
}

}  // namespace fedtune
