// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <utility>

#include "absl/status/status.h"

namespace fedtune {

// The exception that is being handled, as a status. RESOURCE_EXHAUSTED: memory
// ended. INTERNAL: anything else that LibTorch throws.
absl::Status StatusOfException();

// Of work on a GPU that failed for `why`, where `gpu` is what CUDA says of the GPU
// afterwards: ABORTED if that fails, too. After most errors of a GPU nothing succeeds
// on it any more in the process that has met them.
absl::Status WithStateOfGpu(const absl::Status& why, const absl::Status& gpu);

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
