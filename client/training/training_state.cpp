// SPDX-License-Identifier: Apache-2.0

#include "client/training/training_state.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

absl::Status CheckValues(std::string_view what, const std::vector<float>& values, int64_t count) {
  if (std::ssize(values) != count) {
    return absl::InvalidArgumentError(
        fmt::format("its {} has {} values, not {}", what, values.size(), count));
  }
  if (std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format("its {} has a value that is not finite", what));
}

}  // namespace

absl::Status CheckState(const TrainingState& state, const TrainingShape& shape) {
  if (state.step < 0 || state.step > shape.steps) {
    return absl::InvalidArgumentError(
        fmt::format("it is at step {} of {}", state.step, shape.steps));
  }
  RETURN_IF_ERROR(CheckValues("adapter", state.adapter, shape.layout.parameter_count()));
  const int64_t moments =
      shape.optimizer == LocalOptimizer::kAdamW ? shape.layout.parameter_count(shape.factors) : 0;
  RETURN_IF_ERROR(CheckValues("first moment", state.first_moment, moments));
  RETURN_IF_ERROR(CheckValues("second moment", state.second_moment, moments));
  if (std::any_of(state.second_moment.begin(), state.second_moment.end(),
                  [](float x) { return x < 0; })) {
    return absl::InvalidArgumentError("its second moment has a negative value");
  }
  const bool counts = state.token_count >= 0 && state.answer_token_count >= state.step;
  if (counts && std::isfinite(state.loss_sum) && std::isfinite(state.seconds) &&
      state.seconds >= 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("its sums cannot be");
}

}  // namespace fedtune
