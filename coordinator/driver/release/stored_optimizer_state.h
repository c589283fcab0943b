// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>

#include "aggregation/server_optimizer.h"
#include "coordinator/driver/release/global_adapter.h"
#include "coordinator/driver/release/step_sums.h"
#include "coordinator/storage/blob.h"

namespace fedtune {

// What the server's optimiser remembers, where it is stored. Cheap to copy; immutable.
struct StoredOptimizerState {
  OptimizerStateHead head = {};
  Blob blob = {};                                  // Empty: it remembers nothing yet.
  std::shared_ptr<const StepSums> sums = nullptr;  // Of it and of the adapter that it belongs to.
};

// Copies a block of both into `block`. Gives back what of `block` was there: a rule's
// moments may be new.
SteppedValues::Block LoadBlock(const GlobalAdapter& adapter, const StoredOptimizerState& state,
                               int64_t first, SteppedValues::Block block);

// Of both as they are: who calls this knows that they are good.
std::shared_ptr<const StepSums> SumsOf(const GlobalAdapter& adapter,
                                       const StoredOptimizerState& state);

}  // namespace fedtune
