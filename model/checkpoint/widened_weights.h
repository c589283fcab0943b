// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

namespace fedtune {

// Models of up to so many parameters are widened to fp32 when they are loaded onto a
// CPU: their weights fit twice, as stored and in fp32, into any memory.
inline constexpr int64_t kMaxWidenedParameters = int64_t{1} << 30;

// Those of fewer even where the CPU could compute with their bf16: nobody waits for their
// training.
inline constexpr int64_t kMaxExactParameters = int64_t{1} << 26;

}  // namespace fedtune
