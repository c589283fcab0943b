// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>

#include "model/transformer/matrix_products.h"

namespace fedtune {

// A tile of a product, computed in registers.
inline constexpr int64_t kTileRows = 8;
inline constexpr int64_t kPanelColumns = 48;

// What a tile multiplies: fp32 values, or pairs of bf16 values that lie where one
// fp32 value would, and whose depth and steps are counted in pairs.
enum class TileValues : bool { kFp32, kBf16Pairs };

// Some of a tile's depth.
struct TileSegment {
  TileValues values = TileValues::kFp32;
  const float* const* left = nullptr;  // Of each row, what it begins with.
  int64_t left_step = 1;               // From one value of a row to the next.
  const float* right = nullptr;        // Of the first value of a row, all columns.
  int64_t right_step = 0;
  int64_t depth = 0;
};

struct Tile {
  std::span<const TileSegment> segments;  // They add up.
  float* result = nullptr;
  int64_t result_stride = 0;
  int64_t rows = 0;     // At most kTileRows.
  int64_t columns = 0;  // At most kPanelColumns.
  bool add = false;     // To what the result holds.
};

// Kernels for AVX-512; to be called only where HasMatrixKernels() is true, and for
// pairs HasBf16Kernels().
void ComputeTile(const Tile& tile);

// Columns [begin, begin + columns) of rows [from, from + depth) of `right`, as
// panels of kPanelColumns in which a row's columns lie together; the last panel is
// as wide as it has to be, in whole vectors. Returns where the panels end.
float* PackPanels(const RightFactor& right, int64_t from, int64_t depth, int64_t begin,
                  int64_t columns, float* panels);

// The same in pairs of rows, of which the last may be half zero, of a bf16 factor or of
// one that is rounded; `from` is even. Zeros fill each panel up to PanelPairs(depth).
float* PackPairPanels(const RightFactor& right, int64_t from, int64_t depth, int64_t begin,
                      int64_t columns, float* panels);

// The first `depth` values of the first `count` rows as pairs, rounded to the nearest
// bf16 value; each row has PairsOf(depth) of them, and begins `stride` behind the one before.
void PackPairRows(const LeftFactor& left, int64_t depth, int64_t count, float* pairs,
                  int64_t stride);

constexpr int64_t PairsOf(int64_t depth) { return (depth + 1) / 2; }

// Panels have as many pairs as AMX's tiles take in whole steps.
inline constexpr int64_t kPairSteps = 16;
constexpr int64_t WholeSteps(int64_t pairs) { return pairs / kPairSteps * kPairSteps; }
constexpr int64_t PanelPairs(int64_t depth) { return WholeSteps(PairsOf(depth) + kPairSteps - 1); }

// The width of a panel of so many columns, of which the last may be padding.
constexpr int64_t PanelWidth(int64_t columns) { return (columns + 15) / 16 * 16; }

}  // namespace fedtune
