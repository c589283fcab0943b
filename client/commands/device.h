// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>

#include "client/round/memory_fit.h"
#include "client/round/messages.h"
#include "client/training/compute_device.h"

namespace fedtune {

// What this machine trains on, for administrators: the GPU with its memory, or
// the processor with UsableMemory(). `threads` are as configured; 0: all cores.
DeviceDescription DescribeDevice(const ComputeDevice& device, int64_t threads);

// What a training on this device may use: `memory_gb`, or else what was free on the GPU
// when it was chosen, or UsableMemory().
MemoryBudget BudgetOf(const ComputeDevice& device, Recompute recompute,
                      std::optional<double> memory_gb);

}  // namespace fedtune
