// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/amx_panel.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "base/avx512.h"
#include "base/check.h"
#include "base/cpu.h"

namespace fedtune {

#if defined(__x86_64__)

namespace {

constexpr int64_t kVector = 16;
constexpr size_t kTileValues = kAmxRows * kVector;

// What LDTILECFG takes: eight tiles, all of them whole.
struct alignas(64) TileConfiguration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  std::array<uint8_t, 14> reserved = {};
  std::array<uint16_t, 16> row_bytes = {64, 64, 64, 64, 64, 64, 64, 64};
  std::array<uint8_t, 16> rows = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfiguration) == 64);
constexpr TileConfiguration kWholeTiles;

// Compilers do not know that a tile is loaded from memory that was just written.
inline void FinishWrites() { asm volatile("" ::: "memory"); }

// The instructions. Tiles 0 to 2 hold sums, 3 the left factor, 4 to 6 the right one.
class AmxTiles {
 public:
  [[gnu::target("amx-tile,amx-bf16"), gnu::always_inline]] inline AmxTiles() {
    _tile_loadconfig(&kWholeTiles);
  }
  AmxTiles(const AmxTiles&) = delete;
  AmxTiles& operator=(const AmxTiles&) = delete;
  [[gnu::target("amx-tile,amx-bf16"), gnu::always_inline]] inline ~AmxTiles() { _tile_release(); }

  [[gnu::target("amx-tile,amx-bf16"), gnu::always_inline]] inline void ZeroSums() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
  }
  // Strides are counted in values of fp32.
  [[gnu::target("amx-tile,amx-bf16"), gnu::always_inline]] inline void LoadLeft(const float* left,
                                                                                int64_t stride) {
    FinishWrites();
    _tile_loadd(3, left, stride * 4);
  }
  template <int kSum>
  [[gnu::target("amx-tile,amx-bf16"), gnu::always_inline]] inline void AddProduct(
      const float* right, int64_t stride) {
    if constexpr (kSum == 0) {
      _tile_loadd(4, right, stride * 4);
      _tile_dpbf16ps(0, 3, 4);
    } else if constexpr (kSum == 1) {
      _tile_loadd(5, right, stride * 4);
      _tile_dpbf16ps(1, 3, 5);
    } else {
      _tile_loadd(6, right, stride * 4);
      _tile_dpbf16ps(2, 3, 6);
    }
  }
  template <int kSum>
  [[gnu::target("amx-tile,amx-bf16"), gnu::always_inline]] inline void StoreSum(float* to,
                                                                                int64_t stride) {
    if constexpr (kSum == 0) {
      _tile_stored(0, to, stride * 4);
    } else if constexpr (kSum == 1) {
      _tile_stored(1, to, stride * 4);
    } else {
      _tile_stored(2, to, stride * 4);
    }
    FinishWrites();
  }
};

// Computes what the manual says of TDPBF16PS.
class TwinTiles {
 public:
  void ZeroSums() { sums_ = {}; }
  void LoadLeft(const float* left, int64_t stride) { left_ = Loaded(left, stride); }
  template <int kSum>
  void AddProduct(const float* right, int64_t stride) {
    const Pairs loaded = Loaded(right, stride);
    std::array<float, kTileValues>& sums = sums_[kSum];
    for (size_t at = 0; at < kTileValues; ++at) {
      const size_t row = at / kVector * kVector, column = at % kVector;
      float low = 0, high = 0;
      for (size_t k = 0; k < kAmxSteps; ++k) {
        low += Low(left_[row + k]) * Low(loaded[k * kVector + column]);
        high += High(left_[row + k]) * High(loaded[k * kVector + column]);
      }
      sums[at] += low + high;
    }
  }
  template <int kSum>
  void StoreSum(float* to, int64_t stride) const {
    for (int64_t row = 0; row < kAmxRows; ++row) {
      std::memcpy(to + row * stride, sums_[kSum].data() + row * kVector, kVector * sizeof(float));
    }
  }

 private:
  using Pairs = std::array<uint32_t, kTileValues>;

  static Pairs Loaded(const float* from, int64_t stride) {
    Pairs pairs;
    for (int64_t row = 0; row < kAmxRows; ++row) {
      std::memcpy(pairs.data() + row * kVector, from + row * stride, kVector * sizeof(float));
    }
    return pairs;
  }
  static float Low(uint32_t pair) { return std::bit_cast<float>(pair << 16); }
  static float High(uint32_t pair) { return std::bit_cast<float>(pair & 0xffff0000U); }

  std::array<std::array<float, kTileValues>, 3> sums_ = {};
  Pairs left_ = {};
};

// The distance of the rows, if there are as many as in a tile and all are as far from each
// other; or 0.
int64_t CommonStride(const float* const* rows, int64_t count) {
  if (count < kAmxRows) return 0;
  const int64_t stride = rows[1] - rows[0];
  for (int64_t i = 2; i < count; ++i) {
    if (rows[i] - rows[i - 1] != stride) return 0;
  }
  return stride;
}

// Adds whole steps of a segment's depth for some rows, of which `left` holds where each
// begins.
template <int kVectors, typename Tiles>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16")]] void AddWholeSteps(
    const TileSegment& segment, const float* const* left, int64_t rows, Tiles& tiles) {
  const int64_t stride = CommonStride(left, rows), step = segment.right_step;
  alignas(64) std::array<float, kTileValues> gathered = {};
  for (int64_t k = 0; k + kAmxSteps <= segment.depth; k += kAmxSteps) {
    if (stride != 0) {
      tiles.LoadLeft(left[0] + k, stride);
    } else {
      for (int64_t i = 0; i < rows; ++i) {
        std::memcpy(gathered.data() + i * kVector, left[i] + k, kVector * sizeof(float));
      }
      tiles.LoadLeft(gathered.data(), kVector);
    }
    const float* right = segment.right + k * step;
    tiles.template AddProduct<0>(right, step);
    if constexpr (kVectors > 1) tiles.template AddProduct<1>(right + kVector, step);
    if constexpr (kVectors > 2) tiles.template AddProduct<2>(right + 2 * kVector, step);
  }
}

// Writes sums of whole rows of kPanelColumns where they belong.
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void WriteSums(const float* sums,
                                                                     const MatrixResult& part) {
  for (int64_t i = 0; i < part.rows; ++i) {
    for (int64_t n = 0; n < part.columns; n += kVector) {
      const int64_t some = std::min(kVector, part.columns - n);
      const auto mask = static_cast<__mmask16>((1U << static_cast<unsigned>(some)) - 1);
      float* result = part.data + i * part.stride + n;
      __m512 sum = _mm512_load_ps(sums + i * kPanelColumns + n);
      if (part.add) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, result), sum);
      _mm512_mask_storeu_ps(result, mask, sum);
    }
  }
}

// What tiles leave of a segment.
TileSegment RestOf(TileSegment segment) {
  if (!IsForTiles(segment)) return segment;
  const int64_t whole = segment.depth / kAmxSteps * kAmxSteps;
  segment.right += whole * segment.right_step;
  segment.depth -= whole;
  return segment;
}

// Adds what tiles leave of all rows.
void AddRest(std::span<const TileSegment> segments, const MatrixResult& panel) {
  std::vector<TileSegment> rest;
  std::vector<std::vector<const float*>> begins;  // Where tiles end in each row.
  for (const TileSegment& segment : segments) {
    TileSegment left_over = RestOf(segment);
    if (left_over.depth == 0) continue;
    const int64_t whole = segment.depth - left_over.depth;
    if (whole > 0) {
      begins.emplace_back(segment.left, segment.left + panel.rows);
      for (const float*& row : begins.back()) row += whole;
      left_over.left = begins.back().data();
    }
    rest.push_back(left_over);
  }
  if (rest.empty()) return;
  Tile tile = {rest, panel.data, panel.stride, 0, panel.columns, /*add=*/true};
  for (int64_t m = 0; m < panel.rows; m += kTileRows) {
    tile.rows = std::min(kTileRows, panel.rows - m);
    tile.result = panel.data + m * panel.stride;
    ComputeTile(tile);
    for (TileSegment& segment : rest) segment.left += tile.rows;
  }
}

// Whole steps of depth, for all rows.
template <typename Tiles, int kVectors>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16")]] void MultiplyInTiles(
    std::span<const TileSegment> segments, const MatrixResult& panel) {
  Tiles tiles;
  alignas(64) std::array<float, kAmxRows * kPanelColumns> sums;
  for (int64_t m = 0; m < panel.rows; m += kAmxRows) {
    const MatrixResult part = {panel.data + m * panel.stride, panel.stride,
                               std::min(kAmxRows, panel.rows - m), panel.columns, panel.add};
    tiles.ZeroSums();
    for (const TileSegment& segment : segments) {
      if (IsForTiles(segment)) {
        AddWholeSteps<kVectors>(segment, segment.left + m, part.rows, tiles);
      }
    }
    tiles.template StoreSum<0>(sums.data(), kPanelColumns);
    if constexpr (kVectors > 1) tiles.template StoreSum<1>(sums.data() + kVector, kPanelColumns);
    if constexpr (kVectors > 2)
      tiles.template StoreSum<2>(sums.data() + 2 * kVector, kPanelColumns);
    WriteSums(sums.data(), part);
  }
}

template <typename Tiles>
void MultiplyWith(std::span<const TileSegment> segments, const MatrixResult& panel) {
  if (panel.columns <= kVector) {
    MultiplyInTiles<Tiles, 1>(segments, panel);
  } else if (panel.columns <= 2 * kVector) {
    MultiplyInTiles<Tiles, 2>(segments, panel);
  } else {
    MultiplyInTiles<Tiles, 3>(segments, panel);
  }
  AddRest(segments, panel);
}

// A small whole number as a pair's half, exactly.
uint32_t HalfOf(int value) { return std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16; }

// A product of small whole numbers, which is exact however it adds up.
bool TilesMultiplyRight() {
  constexpr int kDepth = 2 * kAmxSteps, kColumns = kPanelColumns;
  const auto left = [](int row, int k) { return (3 * row + 5 * k) % 11 - 5; };
  const auto right = [](int k, int column) { return (7 * k + 2 * column) % 13 - 6; };
  std::array<float, kTileValues> rows;
  std::array<float, kAmxSteps * kPanelColumns> panel;
  std::array<const float*, kAmxRows> begins;
  for (int i = 0; i < kAmxRows; ++i) {
    begins[static_cast<size_t>(i)] = rows.data() + i * kAmxSteps;
    for (int k = 0; k < kDepth; k += 2) {
      rows[static_cast<size_t>(i * kAmxSteps + k / 2)] =
          std::bit_cast<float>(HalfOf(left(i, k)) | HalfOf(left(i, k + 1)) << 16);
    }
  }
  for (int k = 0; k < kDepth; k += 2) {
    for (int n = 0; n < kColumns; ++n) {
      panel[static_cast<size_t>(k / 2 * kColumns + n)] =
          std::bit_cast<float>(HalfOf(right(k, n)) | HalfOf(right(k + 1, n)) << 16);
    }
  }
  std::array<float, kAmxRows * kPanelColumns> result;
  const TileSegment segment = {TileValues::kBf16Pairs, begins.data(), 1,
                               panel.data(),           kColumns,      kAmxSteps};
  MultiplyPanelByAmx({&segment, 1}, {result.data(), kColumns, kAmxRows, kColumns});
  for (int i = 0; i < kAmxRows; ++i) {
    for (int n = 0; n < kColumns; ++n) {
      int expected = 0;
      for (int k = 0; k < kDepth; ++k) expected += left(i, k) * right(k, n);
      if (result[static_cast<size_t>(i * kColumns + n)] != static_cast<float>(expected))
        return false;
    }
  }
  return true;
}

}  // namespace

bool HasAmxKernels() {
  static const bool has = UsableCpuLevel() >= CpuLevel::kAmxBf16 && TilesMultiplyRight();
  return has;
}

void MultiplyPanelByAmx(std::span<const TileSegment> segments, const MatrixResult& panel) {
  MultiplyWith<AmxTiles>(segments, panel);
}

void MultiplyPanelByTwin(std::span<const TileSegment> segments, const MatrixResult& panel) {
  MultiplyWith<TwinTiles>(segments, panel);
}

#else

bool HasAmxKernels() { return false; }

void MultiplyPanelByAmx(std::span<const TileSegment> /*segments*/, const MatrixResult& /*panel*/) {
  Check(false, "a CPU without tiles");
}

void MultiplyPanelByTwin(std::span<const TileSegment> /*segments*/, const MatrixResult& /*panel*/) {
  Check(false, "a CPU without matrix kernels");
}

#endif

}  // namespace fedtune
