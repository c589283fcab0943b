// SPDX-License-Identifier: Apache-2.0

#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <cstdlib>

#include "base/bf16_speed.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

constexpr const char* kVariable = "FEDTUNE_CPU";

#if defined(__x86_64__)

// Asks the kernel for the tiles' registers, for all threads of this process; it says no
// where it does not know them or does not keep them.
bool TilesAreGranted() {
  constexpr int kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int kTileData = 18;               // XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool HasAmxBf16() {
  constexpr unsigned kAmxBf16Bit = 1U << 22, kAmxTileBit = 1U << 24;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (d & kAmxBf16Bit) != 0 && (d & kAmxTileBit) != 0 && TilesAreGranted();
}

CpuLevel LevelOfThisCpu() {
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (!avx512) return CpuLevel::kPortable;
  if (!__builtin_cpu_supports("avx512bf16")) return CpuLevel::kAvx512;
  if (HasAmxBf16()) return CpuLevel::kAmxBf16;
  // CPUs have half, the same or twice the rate, none of which is near.
  constexpr double kWorthRounding = 1.4;
  return Bf16OverFp32() > kWorthRounding ? CpuLevel::kAvx512Bf16 : CpuLevel::kAvx512;
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
  if (name == "avx512_bf16") return CpuLevel::kAvx512Bf16;
  if (name == "amx_bf16" || name.empty()) return CpuLevel::kAmxBf16;
  return absl::InvalidArgumentError(
      fmt::format("the environment variable {} is \"{}\"; set it to \"portable\", \"avx512\", "
                  "\"avx512_bf16\" or \"amx_bf16\", or not at all",
                  kVariable, name));
}

CpuLevel UsableCpuLevel() {
  static const CpuLevel level =
      std::min(LevelOfThisCpu(), LimitOfTheVariable().value_or(CpuLevel::kAmxBf16));
  return level;
}

absl::Status CheckCpuVariable() { return LimitOfTheVariable().status(); }

}  // namespace fedtune
