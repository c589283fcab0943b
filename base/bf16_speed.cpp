// SPDX-License-Identifier: Apache-2.0

#include "base/bf16_speed.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>

#include "base/avx512.h"
#include "base/check.h"

namespace fedtune {

#if defined(__x86_64__)

namespace {

// As many sums as a tile of a product has: they do not wait for each other.
constexpr int kSums = 24;
constexpr int kSteps = 1000;

struct Fp32Products {
  [[gnu::target("avx512f,avx512bf16"), gnu::always_inline]] static inline __m512 Add(__m512 sum,
                                                                                     __m512 x) {
    return _mm512_fmadd_ps(x, x, sum);
  }
};

struct Bf16Products {
  [[gnu::target("avx512f,avx512bf16"), gnu::always_inline]] static inline __m512 Add(__m512 sum,
                                                                                     __m512 x) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(x));
  }
};

// Seconds for kSteps products of every sum.
template <typename Products>
[[gnu::target("avx512f,avx512bf16")]] double Time() {
  __m512 sums[kSums];
#pragma GCC unroll 24
  for (int i = 0; i < kSums; ++i) {
    sums[i] = _mm512_setzero_ps();
    asm volatile("" : "+v"(sums[i]));  // Not known to the compiler, as x: it would compute one.
  }
  __m512 x = _mm512_set1_ps(1);
  const auto begin = std::chrono::steady_clock::now();
  for (int k = 0; k < kSteps; ++k) {
    asm volatile("" : "+v"(x));
#pragma GCC unroll 24
    for (int i = 0; i < kSums; ++i) sums[i] = Products::Add(sums[i], x);
  }
#pragma GCC unroll 24
  for (int i = 0; i < kSums; ++i) asm volatile("" : : "v"(sums[i]));
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

double Bf16OverFp32() {
  constexpr int kTries = 40;  // The shortest is one that nothing disturbed.
  double fp32 = std::numeric_limits<double>::max(), bf16 = fp32;
  for (int i = 0; i < kTries; ++i) {
    fp32 = std::min(fp32, Time<Fp32Products>());
    bf16 = std::min(bf16, Time<Bf16Products>());
  }
  return 2 * fp32 / bf16;
}

#else

double Bf16OverFp32() {
  Check(false, "a CPU without instructions for bf16");
  return 0;
}

#endif

}  // namespace fedtune
