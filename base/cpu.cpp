// SPDX-License-Identifier: Apache-2.0

#include "base/cpu.h"

namespace fedtune {

#if defined(__x86_64__)

bool HasAvx512() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return has;
}

#else

bool HasAvx512() { return false; }

#endif

}  // namespace fedtune
