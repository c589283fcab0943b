// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "model/checkpoint/peft_adapter.h"

namespace fedtune {

// The values that WritePeftAdapter() was given with `layout`, bit for bit, from what its
// folder holds: without the zeros and ranks that were added to stack routed experts, and with
// B as it was where another scale has changed it.
//
// INVALID_ARGUMENT: `stored` is no adapter of this layout; names the module, if it is one.
// FAILED_PRECONDITION: values were rounded when they got another scale, so that nobody can
// tell what they were.
absl::StatusOr<std::vector<float>> UnstackedValues(const PeftAdapter& stored,
                                                   const AdapterLayout& layout);

}  // namespace fedtune
