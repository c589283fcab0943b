// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "base/avx512.h"

#if defined(__x86_64__)

namespace fedtune {

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline __m512 UnpackLow(__m512 a, __m512 b) {
  return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline __m512 UnpackHigh(__m512 a, __m512 b) {
  return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}

// Pairs, then fours of rows, whose columns come to lie together in each quarter
// of a vector.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline void InterleaveRows(
    __m512 (&rows)[16]) {
  __m512 pairs[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    rows[i] = UnpackLow(pairs[i], pairs[i + 2]);
    rows[i + 1] = UnpackHigh(pairs[i], pairs[i + 2]);
    rows[i + 2] = UnpackLow(pairs[i + 1], pairs[i + 3]);
    rows[i + 3] = UnpackHigh(pairs[i + 1], pairs[i + 3]);
  }
}

// out[k][n] = rows[n][k] for 16 rows and columns.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline void Transpose(__m512 (&rows)[16],
                                                                            float* out,
                                                                            int64_t out_stride) {
  InterleaveRows(rows);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 even = _mm512_shuffle_f32x4(rows[j], rows[4 + j], 0x88);
    const __m512 odd = _mm512_shuffle_f32x4(rows[j], rows[4 + j], 0xdd);
    const __m512 even_below = _mm512_shuffle_f32x4(rows[8 + j], rows[12 + j], 0x88);
    const __m512 odd_below = _mm512_shuffle_f32x4(rows[8 + j], rows[12 + j], 0xdd);
    _mm512_storeu_ps(out + j * out_stride, _mm512_shuffle_f32x4(even, even_below, 0x88));
    _mm512_storeu_ps(out + (4 + j) * out_stride, _mm512_shuffle_f32x4(odd, odd_below, 0x88));
    _mm512_storeu_ps(out + (8 + j) * out_stride, _mm512_shuffle_f32x4(even, even_below, 0xdd));
    _mm512_storeu_ps(out + (12 + j) * out_stride, _mm512_shuffle_f32x4(odd, odd_below, 0xdd));
  }
}

}  // namespace fedtune

#endif
