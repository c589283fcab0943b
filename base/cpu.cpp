// SPDX-License-Identifier: Apache-2.0

#include "base/cpu.h"

#include <algorithm>
#include <cstdlib>

#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr const char* kVariable = "FEDTUNE_CPU";

#if defined(__x86_64__)

CpuLevel LevelOfThisCpu() {
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (!avx512) return CpuLevel::kPortable;
  return __builtin_cpu_supports("avx512bf16") ? CpuLevel::kAvx512Bf16 : CpuLevel::kAvx512;
}

#else

CpuLevel LevelOfThisCpu() { return CpuLevel::kPortable; }

#endif

absl::StatusOr<CpuLevel> LimitOfTheVariable() {
  const char* value = std::getenv(kVariable);
  return ParseCpuLimit(value == nullptr ? "" : value);
}

}  // namespace

absl::StatusOr<CpuLevel> ParseCpuLimit(std::string_view name) {
  if (name == "portable") return CpuLevel::kPortable;
  if (name == "avx512") return CpuLevel::kAvx512;
  if (name == "avx512_bf16" || name.empty()) return CpuLevel::kAvx512Bf16;
  return absl::InvalidArgumentError(
      fmt::format("the environment variable {} is \"{}\"; set it to \"portable\", \"avx512\" or "
                  "\"avx512_bf16\", or not at all",
                  kVariable, name));
}

CpuLevel UsableCpuLevel() {
  static const CpuLevel level =
      std::min(LevelOfThisCpu(), LimitOfTheVariable().value_or(CpuLevel::kAvx512Bf16));
  return level;
}

absl::Status CheckCpuVariable() { return LimitOfTheVariable().status(); }

}  // namespace fedtune
