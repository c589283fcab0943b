// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/training/compute_device.h"

namespace fedtune {

// The GPUs of this machine, as CUDA sees them. Two files implement this: one for
// programs that are built for GPUs, one for the others.

// How many there are; at least 1.
//
// NOT_FOUND: this machine has none, or this program is not built for them.
// FAILED_PRECONDITION: CUDA fails although there is a driver, as where that is too old.
// Either says why.
absl::StatusOr<int> CountGpus();

// INTERNAL: CUDA fails on this GPU; says how.
absl::StatusOr<Gpu> DescribeGpu(int index);

// Gives all GPUs back the memory that LibTorch keeps for tensors to come.
//
// INTERNAL: CUDA fails; says how.
absl::Status ReturnFreeGpuMemory();

}  // namespace fedtune
