// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>

#include "model/transformer/matrix_products.h"
#include "model/transformer/matrix_tiles.h"

namespace fedtune {

// Products of bf16 by AMX, whose tiles are registers of sixteen rows of sixteen values of
// fp32 or pairs of bf16 (Intel 64 and IA-32 Architectures Software Developer's Manual,
// volume 1, chapter 18).
inline constexpr int64_t kAmxRows = 16;
inline constexpr int64_t kAmxSteps = 16;  // Of depth, in pairs.

// Whether tiles can be used: this CPU has them, Linux grants them, and they multiplied a
// small product right when they were first asked for.
bool HasAmxKernels();

// Whether tiles multiply at least some of a segment's depth.
constexpr bool IsForTiles(const TileSegment& segment) {
  return segment.values == TileValues::kBf16Pairs && segment.depth >= kAmxSteps;
}

// All rows of a panel; segments begin at the first. Tiles multiply whole steps of depth of
// pairs, for rows that are missing in the last tile with zeros, and ComputeTile() adds the
// rest: how a value adds up depends on the segments' depths alone. Requires HasAmxKernels().
void MultiplyPanelByAmx(std::span<const TileSegment> segments, const MatrixResult& panel);

// The same with tiles whose instructions are computed value by value, for tests on other
// CPUs. Requires HasMatrixKernels(), and HasBf16Kernels() where ComputeTile() adds pairs.
void MultiplyPanelByTwin(std::span<const TileSegment> segments, const MatrixResult& panel);

}  // namespace fedtune
