// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace fedtune {

// `error` of a training's step, with "step 7: " before its message.
absl::Status InStep(int64_t step, const absl::Status& error);

// The error without the step, for those who are not to know how many there are; any other
// status as it is.
absl::Status WithoutStep(const absl::Status& status);

}  // namespace fedtune
