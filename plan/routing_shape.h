// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/statusor.h"
#include "aggregation/round_counters.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/plan.h"

namespace fedtune {

// Which routed tokens the clients of a run count in each round: those of every
// routed expert that `model` describes. None of a dense model.
//
// INVALID_ARGUMENT: routers that are not those of one model, or more experts than
// a round counts.
absl::StatusOr<RoutingShape> RoutingShapeOf(const BaseModelDescription& model,
                                            const TrainingPlan& training);

}  // namespace fedtune
