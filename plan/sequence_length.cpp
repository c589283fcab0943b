// SPDX-License-Identifier: Apache-2.0

#include "plan/sequence_length.h"

#include "fmt/format.h"

namespace fedtune {

absl::Status CheckSequenceLength(const TrainingPlan& plan, const BaseModelDescription& model) {
  if (model.context_length == 0 || plan.sequence_length <= model.context_length) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("the plan has sequences of {} tokens, and {} takes {}", plan.sequence_length,
                  model.name, model.context_length));
}

}  // namespace fedtune
