// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <utility>

#include "absl/status/status.h"

namespace fedtune {

// The exception that is being handled, as a status. RESOURCE_EXHAUSTED: memory
// ended. INTERNAL: anything else that LibTorch throws.
absl::Status StatusOfException();

// Calls `function`, which returns a Status or a StatusOr, and turns what it
// throws into its result: the one place where LibTorch's exceptions end.
template <typename Function>
auto CatchingTorch(Function&& function) -> decltype(function()) {
  try {
    return std::forward<Function>(function)();
  } catch (...) {
    return StatusOfException();
  }
}

}  // namespace fedtune
