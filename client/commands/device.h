// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/usable_cores.h"
#include "client/round/memory_fit.h"
#include "client/round/messages.h"
#include "client/training/compute_device.h"

namespace fedtune {

// With how many threads the CPU computes.
struct ThreadCount {
  int count = 1;
  std::string remark;  // Why they are not as many as `wanted`; empty if they are.
};

// As many as are `wanted` (0: one for each core), but no more than there are cores: more of
// them would only wait for each other, and one configuration may serve machines and containers
// of any size.
ThreadCount ThreadsFor(int64_t wanted, int cores = UsableCores());

// What this machine trains on, for administrators: the GPU with its memory, or
// the processor with UsableMemory(). `threads` are as configured: ThreadsFor() says how many
// that are.
DeviceDescription DescribeDevice(const ComputeDevice& device, int64_t threads);

// What a training on this device may use: `memory_gb`, or else what was free on the GPU
// when it was chosen, or UsableMemory().
MemoryBudget BudgetOf(const ComputeDevice& device, Recompute recompute,
                      std::optional<double> memory_gb);

}  // namespace fedtune
