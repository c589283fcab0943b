// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/plan.h"

namespace fedtune {

// INVALID_ARGUMENT: the plan's sequences are longer than what the model takes. A model
// that does not say how much that is takes all.
absl::Status CheckSequenceLength(const TrainingPlan& plan, const BaseModelDescription& model);

}  // namespace fedtune
