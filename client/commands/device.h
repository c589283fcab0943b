// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "client/round/messages.h"
#include "client/training/compute_device.h"

namespace fedtune {

// What this machine trains on, for administrators: the GPU with its memory, or
// the processor with the machine's. `threads` are as configured; 0: all cores.
DeviceDescription DescribeDevice(const ComputeDevice& device, int64_t threads);

}  // namespace fedtune
