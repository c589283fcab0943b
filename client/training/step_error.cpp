// SPDX-License-Identifier: Apache-2.0

#include "client/training/step_error.h"

#include <string>

#include "base/status.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr char kWithoutStep[] = "fedtune/without-step";

}  // namespace

absl::Status InStep(int64_t step, const absl::Status& error) {
  absl::Status named = Annotate(error, fmt::format("step {}", step));
  named.SetPayload(kWithoutStep, absl::Cord(error.message()));
  return named;
}

absl::Status WithoutStep(const absl::Status& status) {
  const auto message = status.GetPayload(kWithoutStep);
  if (!message.has_value()) return status;
  return absl::Status(status.code(), std::string(*message));
}

}  // namespace fedtune
