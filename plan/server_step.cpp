// SPDX-License-Identifier: Apache-2.0

#include "plan/server_step.h"

#include <cmath>
#include <numbers>

namespace fedtune {
namespace {

double RateShare(const ServerPlan& server, double position) {
  if (position < server.warmup) return position / server.warmup;
  if (server.schedule == RateSchedule::kConstant) return 1;
  const double q = (position - server.warmup) / (1 - server.warmup);
  return server.final_share + (1 - server.final_share) * 0.5 * (1 + std::cos(std::numbers::pi * q));
}

}  // namespace

ServerStep ServerStepOf(const Plan& plan, int64_t round) {
  const double position =
      (static_cast<double>(round) + 0.5) / static_cast<double>(plan.rounds.count);
  const ServerPlan& server = plan.server;
  return {.rule = server.optimizer,
          .learning_rate = static_cast<float>(server.learning_rate * RateShare(server, position)),
          .beta1 = static_cast<float>(server.beta1),
          .beta2 = static_cast<float>(server.beta2),
          .epsilon = static_cast<float>(server.epsilon)};
}

}  // namespace fedtune
