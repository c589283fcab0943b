// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune::simulation {

// What this process has of the machine's memory now, in bytes; 0 where it cannot be told.
int64_t ResidentMemory();

}  // namespace fedtune::simulation
