// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// Which instructions our kernels use, each level with those before it.
enum class CpuLevel : uint8_t {
  kPortable,    // LibTorch's kernels alone.
  kAvx512,      // AVX-512 F, BW, DQ and VL.
  kAvx512Bf16,  // AVX-512 BF16, where its instructions are faster than those for fp32.
  kAmxBf16      // AMX's tiles of bf16, which Linux grants a process that asks.
};

// "portable", "avx512", "avx512_bf16" or "amx_bf16"; the highest level for an empty text.
// INVALID_ARGUMENT: another name; says which are known.
absl::StatusOr<CpuLevel> ParseCpuLimit(std::string_view name);

// The highest level that this CPU has and that the environment variable FEDTUNE_CPU
// allows, if it names a level: one machine can so stand for another. Read once.
CpuLevel UsableCpuLevel();

inline bool HasAvx512() { return UsableCpuLevel() >= CpuLevel::kAvx512; }

// The error of ParseCpuLimit() for FEDTUNE_CPU; nothing is limited then.
absl::Status CheckCpuVariable();

}  // namespace fedtune
