// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <immintrin.h>

#include "privacy/secure_aggregation/mask_kernels.h"

// For the kernels' own files, hence without linkage.
namespace fedtune {
namespace {

constexpr int kAesRounds = 14;

inline __m128i MixDown(__m128i key, __m128i word) {
  key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
  key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
  return _mm_xor_si128(key, word);
}

template <int kRoundConstant>
inline void ExpandTwo(const __m128i* from, __m128i* to, bool both) {
  const __m128i first = _mm_aeskeygenassist_si128(from[1], kRoundConstant);
  to[0] = MixDown(from[0], _mm_shuffle_epi32(first, 0xff));
  if (!both) return;
  const __m128i second = _mm_aeskeygenassist_si128(to[0], 0);
  to[1] = MixDown(from[1], _mm_shuffle_epi32(second, 0xaa));
}

// FIPS 197, section 5.2.
inline void ExpandAesKey(const uint8_t* key, AesSchedule* schedule) {
  __m128i* const round = reinterpret_cast<__m128i*>(schedule->bytes);
  round[0] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key));
  round[1] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(key + 16));
  ExpandTwo<0x01>(round, round + 2, true);
  ExpandTwo<0x02>(round + 2, round + 4, true);
  ExpandTwo<0x04>(round + 4, round + 6, true);
  ExpandTwo<0x08>(round + 6, round + 8, true);
  ExpandTwo<0x10>(round + 8, round + 10, true);
  ExpandTwo<0x20>(round + 10, round + 12, true);
  ExpandTwo<0x40>(round + 12, round + 14, false);
}

}  // namespace
}  // namespace fedtune
