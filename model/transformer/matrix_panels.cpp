// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/avx512.h"
#include "base/check.h"
#include "model/transformer/matrix_tiles.h"
#include "model/transformer/transpose.h"

namespace fedtune {

#if defined(__x86_64__)

namespace {

constexpr int64_t kVector = 16;

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline __m512 Load(const float* values) {
  return _mm512_loadu_ps(values);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline __m512 Load(const uint16_t* values) {
  const auto* bits = reinterpret_cast<const __m256i*>(values);
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(bits));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

inline float Widened(float value) { return value; }
inline float Widened(uint16_t value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

// One panel of a factor that is stored column by column.
template <typename Value>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void PackByColumn(
    const Value* values, int64_t stride, int64_t depth, int64_t columns, float* panel) {
  const int64_t width = PanelWidth(columns);
  const int64_t whole_depth = depth / kVector * kVector;
  for (int64_t n = 0; n < width; n += kVector) {
    const int64_t some = std::min<int64_t>(kVector, columns - n);
    const int64_t done = some == kVector ? whole_depth : 0;
    for (int64_t k = 0; k < done; k += kVector) {
      __m512 rows[kVector];
#pragma GCC unroll 16
      for (int64_t i = 0; i < kVector; ++i) rows[i] = Load(values + (n + i) * stride + k);
      Transpose(rows, panel + k * width + n, width);
    }
    for (int64_t k = done; k < depth; ++k) {
      float* row = panel + k * width + n;
      for (int64_t i = 0; i < some; ++i) row[i] = Widened(values[(n + i) * stride + k]);
      std::fill(row + some, row + kVector, 0.0F);
    }
  }
}

template <typename Value>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void PackRow(const Value* values,
                                                                   int64_t columns, float* row) {
  const int64_t whole = columns / kVector * kVector;
  for (int64_t n = 0; n < whole; n += kVector) _mm512_storeu_ps(row + n, Load(values + n));
  if (whole == columns) return;
  for (int64_t n = whole; n < columns; ++n) row[n] = Widened(values[n]);
  std::fill(row + columns, row + whole + kVector, 0.0F);
}

// The row of depth k.
template <typename Value>
const Value* RowOf(const RightFactor& right, const Value* values, int64_t k) {
  return values + (right.rows != nullptr ? right.rows[k] : k) * right.stride;
}

// So many rows ahead is read what is packed next: rows lie too far from each other
// for the CPU to guess.
constexpr int64_t kRowsAhead = 24;

template <typename Value>
inline void ReadAhead(const Value* row, int64_t columns) {
  constexpr int64_t kLine = 64 / sizeof(Value);
  for (int64_t n = 0; n < columns; n += kLine) _mm_prefetch(row + n, _MM_HINT_T0);
}

// Where the panel of column n begins; all before it are whole.
inline float* PanelOf(float* panels, int64_t n, int64_t rows) { return panels + n * rows; }

// All panels of a factor that is stored by depth, row by row.
template <typename Value>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void PackByDepth(const RightFactor& right,
                                                                       int64_t from, int64_t depth,
                                                                       int64_t begin,
                                                                       int64_t columns,
                                                                       float* panels) {
  const auto* values = static_cast<const Value*>(right.data);
  for (int64_t k = 0; k < depth; ++k) {
    if (k + kRowsAhead < depth) {
      ReadAhead(RowOf(right, values, from + k + kRowsAhead) + begin, columns);
    }
    const Value* row = RowOf(right, values, from + k) + begin;
    for (int64_t n = 0; n < columns; n += kPanelColumns) {
      const int64_t some = std::min(kPanelColumns, columns - n);
      PackRow(row + n, some, PanelOf(panels, n, depth) + k * PanelWidth(some));
    }
  }
}

template <typename Value>
float* PackPanelsOf(const RightFactor& right, int64_t from, int64_t depth, int64_t begin,
                    int64_t columns, float* panels) {
  if (right.order == RightOrder::kByDepth) {
    PackByDepth<Value>(right, from, depth, begin, columns, panels);
  } else {
    const auto* values = static_cast<const Value*>(right.data);
    for (int64_t n = 0; n < columns; n += kPanelColumns) {
      PackByColumn(values + (begin + n) * right.stride + from, right.stride, depth,
                   std::min(kPanelColumns, columns - n), PanelOf(panels, n, depth));
    }
  }
  return panels + depth * PanelWidth(columns);
}

// Two values that lie one behind the other as a pair, or one, then half zero.
inline uint32_t PairAt(const uint16_t* values, bool both) {
  uint32_t pair = values[0];
  if (both) std::memcpy(&pair, values, sizeof(pair));
  return pair;
}

// To the nearest value, halfway to the even one, as the vectors' instruction rounds.
inline uint32_t Rounded(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
}

inline uint32_t PairAt(const float* values, bool both) {
  return Rounded(values[0]) | (both ? Rounded(values[1]) << 16 : 0U);
}

// Writes a pair where an fp32 value would lie.
inline void StorePair(uint32_t pair, float* to) { std::memcpy(to, &pair, sizeof(pair)); }

// Sixteen pairs of values that lie one behind the other.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline __m512 LoadPairs(
    const uint16_t* values) {
  return _mm512_castsi512_ps(_mm512_loadu_si512(values));
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] inline __m512 LoadPairs(
    const float* values) {
  return reinterpret_cast<__m512>(
      _mm512_cvtne2ps_pbh(_mm512_loadu_ps(values + kVector), _mm512_loadu_ps(values)));
}

// One panel of a factor that is stored column by column, where pairs lie together.
template <typename Value>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] void PackPairsByColumn(
    const Value* values, int64_t stride, int64_t depth, int64_t columns, float* panel) {
  const int64_t width = PanelWidth(columns), pairs = PairsOf(depth);
  const int64_t whole_pairs = depth / 2 / kVector * kVector;
  for (int64_t n = 0; n < width; n += kVector) {
    const int64_t some = std::min<int64_t>(kVector, columns - n);
    const int64_t done = some == kVector ? whole_pairs : 0;
    for (int64_t k = 0; k < done; k += kVector) {
      __m512 rows[kVector];
#pragma GCC unroll 16
      for (int64_t i = 0; i < kVector; ++i) rows[i] = LoadPairs(values + (n + i) * stride + 2 * k);
      Transpose(rows, panel + k * width + n, width);
    }
    for (int64_t k = done; k < pairs; ++k) {
      float* row = panel + k * width + n;
      for (int64_t i = 0; i < some; ++i) {
        StorePair(PairAt(values + (n + i) * stride + 2 * k, 2 * k + 1 < depth), row + i);
      }
      std::fill(row + some, row + kVector, 0.0F);
    }
  }
}

// For each half of a vector of pairs where its value is: that of a first one among sixteen,
// that of a second one among the sixteen behind them.
struct PairOrder {
  constexpr PairOrder() {
    for (int i = 0; i < kVector; ++i) {
      places[2 * i] = static_cast<uint16_t>(i);
      places[2 * i + 1] = static_cast<uint16_t>(kVector + i);
    }
  }
  alignas(64) uint16_t places[2 * kVector] = {};
};
constexpr PairOrder kPairOrder;

// Sixteen values of each of two rows, or fewer and zeros, in bf16. Values that are not asked
// for are not read: the CPU would wait for them.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline __m512i Both(__mmask16 mask,
                                                                          const uint16_t* first,
                                                                          const uint16_t* second) {
  const __m256i above = _mm256_maskz_loadu_epi16(mask, first);
  const __m256i below =
      second != nullptr ? _mm256_maskz_loadu_epi16(mask, second) : _mm256_setzero_si256();
  return _mm512_inserti64x4(_mm512_castsi256_si512(above), below, 1);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] inline __m512i Both(
    __mmask16 mask, const float* first, const float* second) {
  const __m512 above = _mm512_maskz_loadu_ps(mask, first);
  const __m512 below =
      second != nullptr ? _mm512_maskz_loadu_ps(mask, second) : _mm512_setzero_ps();
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(below, above));
}

// Pairs of one value of `first` and one of `second` each; without the latter they
// are half zero.
template <typename Value>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] void PackPairRow(
    const Value* first, const Value* second, int64_t columns, float* row) {
  const __m512i order = _mm512_load_si512(kPairOrder.places);
  for (int64_t n = 0; n < columns; n += kVector) {
    const int64_t some = std::min(kVector, columns - n);
    const auto mask = static_cast<__mmask16>((1U << static_cast<unsigned>(some)) - 1);
    const __m512i both = Both(mask, first + n, second == nullptr ? nullptr : second + n);
    _mm512_storeu_si512(row + n, _mm512_permutexvar_epi16(order, both));
  }
}

// All panels of a factor that is stored by depth, two rows at a time.
template <typename Value>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] void PackPairsByDepth(
    const RightFactor& right, int64_t from, int64_t depth, int64_t begin, int64_t columns,
    float* panels) {
  const auto* values = static_cast<const Value*>(right.data);
  const auto row = [&](int64_t k) { return RowOf(right, values, from + k) + begin; };
  for (int64_t k = 0; k < depth; k += 2) {
    for (int64_t ahead = k + kRowsAhead; ahead < std::min(k + kRowsAhead + 2, depth); ++ahead) {
      ReadAhead(row(ahead), columns);
    }
    const Value* second = k + 1 < depth ? row(k + 1) : nullptr;
    for (int64_t n = 0; n < columns; n += kPanelColumns) {
      const int64_t some = std::min(kPanelColumns, columns - n);
      PackPairRow(row(k) + n, second == nullptr ? nullptr : second + n, some,
                  PanelOf(panels, n, PanelPairs(depth)) + k / 2 * PanelWidth(some));
    }
  }
}

// The rows behind the last pairs, up to whole steps, of each panel.
void ZeroRowsBehind(int64_t depth, int64_t columns, float* panels) {
  const int64_t pairs = PairsOf(depth), rows = PanelPairs(depth);
  for (int64_t n = 0; n < columns; n += kPanelColumns) {
    const int64_t width = PanelWidth(std::min(kPanelColumns, columns - n));
    std::fill_n(PanelOf(panels, n, rows) + pairs * width, (rows - pairs) * width, 0.0F);
  }
}

template <typename Value>
float* PackPairPanelsOf(const RightFactor& right, int64_t from, int64_t depth, int64_t begin,
                        int64_t columns, float* panels) {
  if (right.order == RightOrder::kByDepth) {
    PackPairsByDepth<Value>(right, from, depth, begin, columns, panels);
  } else {
    const auto* values = static_cast<const Value*>(right.data);
    for (int64_t n = 0; n < columns; n += kPanelColumns) {
      PackPairsByColumn(values + (begin + n) * right.stride + from, right.stride, depth,
                        std::min(kPanelColumns, columns - n),
                        PanelOf(panels, n, PanelPairs(depth)));
    }
  }
  ZeroRowsBehind(depth, columns, panels);
  return panels + PanelPairs(depth) * PanelWidth(columns);
}

}  // namespace

float* PackPanels(const RightFactor& right, int64_t from, int64_t depth, int64_t begin,
                  int64_t columns, float* panels) {
  return right.type == RightType::kBf16
             ? PackPanelsOf<uint16_t>(right, from, depth, begin, columns, panels)
             : PackPanelsOf<float>(right, from, depth, begin, columns, panels);
}

float* PackPairPanels(const RightFactor& right, int64_t from, int64_t depth, int64_t begin,
                      int64_t columns, float* panels) {
  return right.type == RightType::kBf16ByBf16
             ? PackPairPanelsOf<uint16_t>(right, from, depth, begin, columns, panels)
             : PackPairPanelsOf<float>(right, from, depth, begin, columns, panels);
}

#else

namespace {
constexpr char kNoKernels[] = "a CPU without matrix kernels";
}  // namespace

float* PackPanels(const RightFactor& /*right*/, int64_t /*from*/, int64_t /*depth*/,
                  int64_t /*begin*/, int64_t /*columns*/, float* panels) {
  Check(false, kNoKernels);
  return panels;
}

float* PackPairPanels(const RightFactor& /*right*/, int64_t /*from*/, int64_t /*depth*/,
                      int64_t /*begin*/, int64_t /*columns*/, float* panels) {
  Check(false, kNoKernels);
  return panels;
}

#endif

}  // namespace fedtune
