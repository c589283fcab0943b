// SPDX-License-Identifier: Apache-2.0

// An administrator's description of a base model, and the layers that the
// coordinator finds in it for a plan's targets.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/adapter_targets.h"
#include "plan/cost.h"
#include "plan/routing_shape.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using fedtune::Check;
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto model = fedtune::BaseModelDescriptionFromJson(json);
  if (!model.ok()) return 0;
  const auto again = fedtune::BaseModelDescriptionFromJson(fedtune::ToJson(*model));
  Check(again.ok() && *again == *model, "a description is read back");
  fedtune::Plan plan;
  plan.training.steps = 1;
  plan.rounds.count = 2;
  plan.adapter.rank = 4;
  plan.adapter.targets = {"all-linear"};
  const auto layout = fedtune::ResolveTargets(*model, plan.adapter);
  if (!layout.ok() || !fedtune::RoutingShapeOf(*model, plan.training).ok()) return 0;
  plan.secure.max_cohort = 6;
  for (const auto mode : {fedtune::AggregationMode::kPlain, fedtune::AggregationMode::kSecure}) {
    plan.aggregation.mode = mode;
    const auto cost = fedtune::EstimateCost(plan, *model, *layout, fedtune::ComputeType::kFp32);
    Check(cost.trained_parameters == layout->parameter_count(), "every value is trained");
    Check(cost.memory_bytes() >= 0 && cost.transfer_bytes >= 0, "costs are positive");
  }
  return 0;
}
