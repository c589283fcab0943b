// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <vector>

#include "base/avx512.h"
#include "base/check.h"
#include "model/transformer/matrix_tiles.h"
#include "model/transformer/transpose.h"

namespace fedtune {

#if defined(__x86_64__)

namespace {

constexpr int64_t kVector = 16;

// Of the first `some` values of a vector, or all.
inline __mmask16 MaskOf(int64_t some) {
  return some >= kVector ? static_cast<__mmask16>(0xffff)
                         : static_cast<__mmask16>((1U << static_cast<unsigned>(some)) - 1);
}

// `count` values that lie one behind the other as pairs.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] void RoundToPairs(
    const float* values, int64_t count, float* pairs) {
  constexpr int64_t kTogether = 2 * kVector;
  for (int64_t k = 0; k < count; k += kTogether) {
    const int64_t some = std::min(kTogether, count - k);
    const auto mask = static_cast<uint32_t>((uint64_t{1} << static_cast<unsigned>(some)) - 1);
    const auto low = static_cast<__mmask16>(mask), high = static_cast<__mmask16>(mask >> kVector);
    const __m512bh rounded = _mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(high, values + k + kVector),
                                                 _mm512_maskz_loadu_ps(low, values + k));
    _mm512_mask_storeu_epi32(pairs + k / 2, MaskOf(PairsOf(some)),
                             reinterpret_cast<__m512i>(rounded));
  }
}

// Sixteen values, rounded, each in the lower half of its place.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] inline __m512i RoundedHalves(
    __mmask16 mask, const float* values) {
  return _mm512_cvtepu16_epi32(
      reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, values))));
}

// Up to sixteen rows and pairs of values whose rows lie side by side, as the columns of
// a matrix: row m and depth k at values[k * step + m].
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] void RoundColumns(
    const float* values, int64_t step, int64_t depth, int64_t count, float* pairs,
    int64_t pair_stride) {
  const __mmask16 rows = MaskOf(count);
  alignas(64) __m512 by_pair[kVector];
  for (int64_t i = 0; i < kVector; ++i) {
    __m512i pair = _mm512_setzero_si512();
    if (2 * i < depth) pair = RoundedHalves(rows, values + 2 * i * step);
    if (2 * i + 1 < depth) {
      const __m512i second = RoundedHalves(rows, values + (2 * i + 1) * step);
      pair = _mm512_or_si512(pair, _mm512_slli_epi32(second, 16));
    }
    by_pair[i] = _mm512_castsi512_ps(pair);
  }
  alignas(64) float by_row[kVector * kVector];
  Transpose(by_pair, by_row, kVector);
  const __mmask16 some = MaskOf(PairsOf(depth));
  for (int64_t m = 0; m < std::min(count, kVector); ++m) {
    _mm512_mask_storeu_ps(pairs + m * pair_stride, some, _mm512_load_ps(by_row + m * kVector));
  }
}

void PackColumns(const LeftFactor& left, int64_t depth, int64_t count, float* pairs,
                 int64_t stride) {
  for (int64_t k = 0; k < depth; k += 2 * kVector) {
    for (int64_t m = 0; m < count; m += kVector) {
      RoundColumns(left.data + k * left.step + m, left.step, depth - k, count - m,
                   pairs + m * stride + k / 2, stride);
    }
  }
}

// Of rows whose values lie anywhere.
void PackScattered(const LeftFactor& left, int64_t depth, int64_t count, float* pairs,
                   int64_t stride) {
  std::vector<float> row(static_cast<size_t>(depth));
  for (int64_t i = 0; i < count; ++i) {
    const float* values = left.data + (left.rows != nullptr ? left.rows[i] : i) * left.stride;
    for (int64_t k = 0; k < depth; ++k) row[static_cast<size_t>(k)] = values[k * left.step];
    RoundToPairs(row.data(), depth, pairs + i * stride);
  }
}

inline void ReadAhead(const float* row, int64_t size) {
  constexpr int64_t kLine = 16;
  for (int64_t n = 0; n < size; n += kLine) _mm_prefetch(row + n, _MM_HINT_T0);
}

}  // namespace

void PackPairRows(const LeftFactor& left, int64_t depth, int64_t count, float* pairs,
                  int64_t stride) {
  constexpr int64_t kRowsAhead = 8;
  if (left.step != 1 && left.stride == 1 && left.rows == nullptr) {
    return PackColumns(left, depth, count, pairs, stride);
  }
  if (left.step != 1) return PackScattered(left, depth, count, pairs, stride);
  const auto row = [&left](int64_t i) {
    return left.data + (left.rows != nullptr ? left.rows[i] : i) * left.stride;
  };
  for (int64_t i = 0; i < count; ++i, pairs += stride) {
    if (i + kRowsAhead < count) ReadAhead(row(i + kRowsAhead), depth);
    RoundToPairs(row(i), depth, pairs);
  }
}

#else

void PackPairRows(const LeftFactor& /*left*/, int64_t /*depth*/, int64_t /*count*/,
                  float* /*pairs*/, int64_t /*stride*/) {
  Check(false, "a CPU without matrix kernels");
}

#endif

}  // namespace fedtune
