// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "base/avx512.h"

// What vector kernels share, for the CPUs of HasMatrixKernels(). Nothing on others.

#if defined(__x86_64__)

namespace fedtune {

constexpr int64_t kVector = 16;

// Those of the values from `begin` to `size` that are in one vector.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline __mmask16 MaskOf(int64_t begin,
                                                                              int64_t size) {
  const int64_t some = size - begin;
  return some >= kVector ? static_cast<__mmask16>(0xffff)
                         : static_cast<__mmask16>((1U << static_cast<unsigned>(some)) - 1);
}

// 2^power e^rest to about one unit in the last place, for a rest of half a ln 2 at most (the
// polynomial is Cephes').
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline __m512 ScaledExp(
    __m512 power, __m512 rest) {
  __m512 p = _mm512_set1_ps(1.9875691500e-4F);
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(1.3981999507e-3F));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(8.3334519073e-3F));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(4.1665795894e-2F));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(1.6666665459e-1F));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(5.0000001201e-1F));
  p = _mm512_fmadd_ps(_mm512_mul_ps(p, rest), rest, _mm512_add_ps(rest, _mm512_set1_ps(1)));
  return _mm512_scalef_ps(p, power);
}

// ln 2 in two parts, so that some power of it is taken off exactly.
constexpr float kLn2 = 0.693359375F, kLn2Rest = -2.12194440e-4F, kInverseLn2 = 1.44269504F;

// The value within its bounds. Of two of which one is no number these instructions give the
// second: it stays none, so that whoever looks at what comes of it sees that values overflowed.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline __m512 Within(
    float least, float most, __m512 x) {
  return _mm512_max_ps(_mm512_set1_ps(least), _mm512_min_ps(_mm512_set1_ps(most), x));
}

// e^x to about one unit in the last place.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline __m512 Exp(__m512 x) {
  x = Within(-103.9F, 88.72F, x);
  const __m512 power = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(kInverseLn2)),
                                            _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_fnmadd_ps(power, _mm512_set1_ps(kLn2), x);
  return ScaledExp(power, _mm512_fnmadd_ps(power, _mm512_set1_ps(kLn2Rest), rest));
}

// 1 / (1 + e^-x) to about two units in the last place, but no less than e^-87. In place of a
// division, for which the CPU takes as long as for all the rest, a first guess to 14 bits
// becomes twice as good by a step of Newton's.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl"), gnu::always_inline]] inline __m512 Sigmoid(
    __m512 x) {
  x = Within(-87, 103.9F, x);
  const __m512 whole = _mm512_set1_ps(12582912);  // 1.5 * 2^23: sums with it have no fraction.
  const __m512 power =
      _mm512_sub_ps(_mm512_fmadd_ps(x, _mm512_set1_ps(-kInverseLn2), whole), whole);
  const __m512 rest = _mm512_fnmsub_ps(power, _mm512_set1_ps(kLn2), x);
  const __m512 one = _mm512_set1_ps(1);
  const __m512 divisor =
      _mm512_add_ps(one, ScaledExp(power, _mm512_fnmadd_ps(power, _mm512_set1_ps(kLn2Rest), rest)));
  const __m512 guess = _mm512_rcp14_ps(divisor);
  return _mm512_fmadd_ps(guess, _mm512_fnmadd_ps(divisor, guess, one), guess);
}

}  // namespace fedtune

#endif
