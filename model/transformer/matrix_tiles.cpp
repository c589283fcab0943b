// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/matrix_tiles.h"

#include <array>
#include <type_traits>

#include "base/avx512.h"
#include "base/check.h"
#include "base/cpu.h"

namespace fedtune {

#if defined(__x86_64__)

namespace {

constexpr int kVector = 16;

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] inline __m512 AddProducts(
    std::integral_constant<TileValues, TileValues::kFp32> /*values*/, __m512 sum, __m512 left,
    __m512 right) {
  return _mm512_fmadd_ps(left, right, sum);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] inline __m512 AddProducts(
    std::integral_constant<TileValues, TileValues::kBf16Pairs> /*values*/, __m512 sum, __m512 left,
    __m512 right) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(left), reinterpret_cast<__m512bh>(right));
}

// Sums of a tile. Where it is a single vector wide, an instruction would wait for the one
// before it: values of odd depth are then added up apart.
template <int kVectors>
constexpr int kChains = kVectors == 1 ? 2 : 1;

template <int kRows, int kVectors>
struct Sums {
  __m512 values[kRows][kVectors];
};

// Adds the products of one step of depth to the sums.
template <TileValues kValues, int kRows, int kVectors>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), gnu::always_inline]] inline void
AddStep(const std::array<const float*, kRows>& left, int64_t at, const float* right, __mmask16 last,
        Sums<kRows, kVectors>& sums) {
  __m512 columns[kVectors];
#pragma GCC unroll 3
  for (int j = 0; j + 1 < kVectors; ++j) columns[j] = _mm512_loadu_ps(right + kVector * j);
  columns[kVectors - 1] = _mm512_maskz_loadu_ps(last, right + kVector * (kVectors - 1));
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    const __m512 value = _mm512_set1_ps(left[i][at]);
#pragma GCC unroll 3
    for (int j = 0; j < kVectors; ++j) {
      sums.values[i][j] = AddProducts(std::integral_constant<TileValues, kValues>(),
                                      sums.values[i][j], value, columns[j]);
    }
  }
}

// Adds a segment's products to the sums. Of instructions for bf16 a compiler makes none
// but those it is told to, so that segments of fp32 values run without them.
template <TileValues kValues, int kRows, int kVectors>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), gnu::always_inline]] inline void
AddSegment(const TileSegment& segment, __mmask16 last,
           Sums<kRows, kVectors> (&sums)[kChains<kVectors>]) {
  std::array<const float*, kRows> left;
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) left[i] = segment.left[i];
  const float* right = segment.right;
  const int64_t step = segment.left_step, right_step = segment.right_step;
  constexpr int kTogether = kChains<kVectors>;
  int64_t k = 0, at = 0;
  for (; k + kTogether <= segment.depth; k += kTogether) {
#pragma GCC unroll 2
    for (int chain = 0; chain < kTogether; ++chain, at += step, right += right_step) {
      AddStep<kValues, kRows, kVectors>(left, at, right, last, sums[chain]);
    }
  }
  if (k < segment.depth) AddStep<kValues, kRows, kVectors>(left, at, right, last, sums[0]);
}

// What the chains' sums are together.
template <int kRows, int kVectors>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16"), gnu::always_inline]] inline __m512
TotalOf(const Sums<kRows, kVectors> (&sums)[kChains<kVectors>], int row, int vector) {
  __m512 total = sums[0].values[row][vector];
  if constexpr (kChains<kVectors> == 2) {
    total = _mm512_add_ps(total, sums[1].values[row][vector]);
  }
  return total;
}

template <int kRows, int kVectors>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]] void ComputeTileOf(
    const Tile& tile) {
  Sums<kRows, kVectors> sums[kChains<kVectors>];
#pragma GCC unroll 2
  for (int chain = 0; chain < kChains<kVectors>; ++chain) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 3
      for (int j = 0; j < kVectors; ++j) sums[chain].values[i][j] = _mm512_setzero_ps();
    }
  }
  const auto rest = static_cast<int>(tile.columns) - kVector * (kVectors - 1);
  const auto last = static_cast<__mmask16>((1U << rest) - 1);
  for (const TileSegment& segment : tile.segments) {
    if (segment.values == TileValues::kBf16Pairs) {
      AddSegment<TileValues::kBf16Pairs, kRows, kVectors>(segment, last, sums);
    } else {
      AddSegment<TileValues::kFp32, kRows, kVectors>(segment, last, sums);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
    float* result = tile.result + i * tile.result_stride;
#pragma GCC unroll 3
    for (int j = 0; j < kVectors; ++j) {
      const auto mask = j + 1 < kVectors ? static_cast<__mmask16>(0xffff) : last;
      __m512 sum = TotalOf<kRows, kVectors>(sums, i, j);
      if (tile.add) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, result + kVector * j), sum);
      _mm512_mask_storeu_ps(result + kVector * j, mask, sum);
    }
  }
}

using TileFunction = void (*)(const Tile& tile);

template <int kRows>
constexpr std::array<TileFunction, 3> kTilesOfRows = {
    ComputeTileOf<kRows, 1>, ComputeTileOf<kRows, 2>, ComputeTileOf<kRows, 3>};

constexpr std::array<std::array<TileFunction, 3>, kTileRows> kTiles = {
    kTilesOfRows<1>, kTilesOfRows<2>, kTilesOfRows<3>, kTilesOfRows<4>,
    kTilesOfRows<5>, kTilesOfRows<6>, kTilesOfRows<7>, kTilesOfRows<8>};

}  // namespace

bool HasMatrixKernels() { return HasAvx512(); }

bool HasBf16Kernels() { return UsableCpuLevel() >= CpuLevel::kAvx512Bf16; }

void ComputeTile(const Tile& tile) {
  const auto vectors = static_cast<size_t>((tile.columns + kVector - 1) / kVector);
  kTiles[static_cast<size_t>(tile.rows - 1)][vectors - 1](tile);
}

#else

bool HasMatrixKernels() { return false; }

bool HasBf16Kernels() { return false; }

void ComputeTile(const Tile& /*tile*/) { Check(false, "a CPU without matrix kernels"); }

#endif

}  // namespace fedtune
