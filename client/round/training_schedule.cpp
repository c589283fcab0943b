// SPDX-License-Identifier: Apache-2.0

#include "client/round/training_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fedtune {

int64_t StepsPerRound(const TrainingPlan& plan, int64_t record_count) {
  if (plan.steps > 0) return plan.steps;
  const int64_t records = plan.epochs * record_count;
  return std::max<int64_t>(1, (records + plan.batch_size - 1) / plan.batch_size);
}

double LocalLearningRate(const TrainingPlan& plan, const StepPosition& position) {
  const double in_round =
      (static_cast<double>(position.step) + 0.5) / static_cast<double>(position.steps);
  const double share =
      (static_cast<double>(position.round) + in_round) / static_cast<double>(position.rounds);
  if (share < plan.warmup) return plan.learning_rate * share / plan.warmup;
  if (plan.schedule == RateSchedule::kConstant) return plan.learning_rate;
  const double after_warmup = (share - plan.warmup) / (1 - plan.warmup);
  return plan.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * after_warmup));
}

}  // namespace fedtune
