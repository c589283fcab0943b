// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"

namespace fedtune {

// Of a base model that computes values that are not finite from weights that are, with an
// adapter or alone: OUT_OF_RANGE, with what to do.
absl::Status Overflowed(bool with_adapter);

}  // namespace fedtune
