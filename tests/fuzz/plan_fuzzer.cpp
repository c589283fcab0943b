// SPDX-License-Identifier: Apache-2.0

// Plans come from administrators and travel to every client. Whatever the text:
// a status, or a plan whose numbers keep to the ranges that others rely on.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "plan/plan.h"
#include "plan/server_step.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fedtune::Check;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto plan = fedtune::ParsePlan(text, "plan.toml");
  if (!plan.ok()) {
    Check(!plan.status().message().empty(), "a refusal says why");
    return 0;
  }
  Check(plan->rounds.count >= 1 && plan->rounds.quorum >= 1, "rounds");
  Check(plan->rounds.deadline > absl::ZeroDuration(), "deadline");
  Check((plan->training.steps > 0) != (plan->training.epochs > 0), "steps or epochs");
  Check(plan->adapter.rank >= 1 && plan->adapter.alpha > 0, "adapter");
  const fedtune::ServerStep step = fedtune::ServerStepOf(*plan, plan->rounds.count - 1);
  Check(step.learning_rate >= 0 && step.learning_rate <= 100, "learning rate");
  return 0;
}
