// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>

#include "privacy/secure_aggregation/mask_kernels.h"

namespace fedtune::bench {

// The median of the seconds that five runs take.
double MedianSeconds(const std::function<void()>& work);

// What this machine can do at best, in bytes a second.

// AES-256-CTR's keystream by a kernel's bare instructions, into a buffer of 16
// KiB that stays in the innermost cache; of all threads together.
double KeystreamRate(MaskKernel kernel, int threads);

// One core that changes a vector beyond the caches in place: what it reads and
// what it writes.
double MemoryUpdateRate();

}  // namespace fedtune::bench
