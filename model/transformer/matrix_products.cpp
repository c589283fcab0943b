// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/matrix_products.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "ATen/Parallel.h"
#include "model/transformer/matrix_tiles.h"
#include "model/transformer/parallel.h"

namespace fedtune {
namespace {

// A block of the right factor is packed, then all rows go through it: a panel
// stays in the first cache, the block in the second.
constexpr int64_t kBlockDepth = 384;
constexpr int64_t kBlockColumns = 4 * kPanelColumns;

// Up to so many rows, packing costs more than it saves.
constexpr int64_t kFewRows = 2 * kTileRows;

float* PackingBuffer() {
  constexpr size_t kSize = kBlockDepth * kBlockColumns;
  thread_local std::vector<float> buffer(kSize + 16);
  const auto address = reinterpret_cast<uintptr_t>(buffer.data());
  return buffer.data() + (64 - address % 64) % 64 / sizeof(float);
}

// Room for `count` values, which stays this thread's.
float* RowBuffer(int64_t count) {
  thread_local std::vector<float> buffer;
  buffer.resize(std::max(buffer.size(), static_cast<size_t>(count)));
  return buffer.data();
}

// Part of a term: some depth of the left factor, as tiles take it, and a block of
// the right one.
struct Block {
  const LeftFactor& left;  // Begins with the block's first value.
  const RightFactor& right;
  int64_t from;  // In depth.
  int64_t depth;
  int64_t begin;  // Among the columns.
  int64_t columns;
  bool add;

  bool in_pairs() const { return right.type == RightType::kBf16ByBf16; }
  int64_t steps() const { return in_pairs() ? PairsOf(depth) : depth; }
};

void MultiplyPanel(const Block& block, const MatrixResult& result, const float* right,
                   int64_t right_step, int64_t offset, int64_t columns) {
  const LeftFactor& left = block.left;
  Tile tile;
  tile.values = block.in_pairs() ? TileValues::kBf16Pairs : TileValues::kFp32;
  tile.left_step = left.step;
  tile.right = right;
  tile.right_step = right_step;
  tile.depth = block.steps();
  tile.result_stride = result.stride;
  tile.columns = columns;
  tile.add = block.add;
  for (int64_t m = 0; m < result.rows; m += kTileRows) {
    tile.rows = std::min(kTileRows, result.rows - m);
    for (int64_t i = 0; i < tile.rows; ++i) {
      tile.left[i] = left.data + (left.rows != nullptr ? left.rows[m + i] : m + i) * left.stride;
    }
    tile.result = result.data + m * result.stride + block.begin + offset;
    ComputeTile(tile);
  }
}

bool CanStayUnpacked(const RightFactor& right, int64_t rows) {
  return rows <= kFewRows && right.order == RightOrder::kByDepth &&
         right.type == RightType::kFp32 && right.rows == nullptr;
}

void MultiplyBlock(const Block& block, const MatrixResult& result) {
  const RightFactor& right = block.right;
  const bool unpacked = CanStayUnpacked(right, result.rows);
  const float* panel = PackingBuffer();
  if (unpacked) {
    panel = static_cast<const float*>(right.data) + block.from * right.stride + block.begin;
  } else {
    const auto pack = block.in_pairs() ? PackPairPanels : PackPanels;
    pack(right, block.from, block.depth, block.begin, block.columns, PackingBuffer());
  }
  for (int64_t n = 0; n < block.columns; n += kPanelColumns) {
    const int64_t some = std::min(kPanelColumns, block.columns - n);
    const int64_t step = unpacked ? right.stride : PanelWidth(some);
    MultiplyPanel(block, result, panel, step, n, some);
    panel += unpacked ? kPanelColumns : block.steps() * step;
  }
}

// The term's left factor from some depth on, as tiles take it.
LeftFactor LeftOfBlock(const MatrixTerm& term, int64_t from, int64_t depth, int64_t rows) {
  if (term.right.type != RightType::kBf16ByBf16) {
    LeftFactor left = term.left;
    left.data += from * left.step;
    return left;
  }
  float* pairs = RowBuffer(rows * PairsOf(depth));
  PackPairRows(term.left, from, depth, rows, pairs);
  return {pairs, PairsOf(depth), 1, nullptr};
}

int64_t BlockDepth(RightType type) {
  return type == RightType::kBf16ByBf16 ? 2 * kBlockDepth : kBlockDepth;
}

// How large a task's part of a result is.
struct Cuts {
  int64_t rows;
  int64_t columns;
};

// Two tasks a thread, so that none waits long for another; but a task packs for
// itself, which wants many rows.
Cuts CutsOf(const MatrixResult& result) {
  constexpr int64_t kRowsWorthPacking = 128;
  const int64_t tasks = 2 * at::get_num_threads();
  const int64_t rows = std::max(kRowsWorthPacking, (result.rows + tasks - 1) / tasks);
  const int64_t row_tasks = std::max<int64_t>(1, (result.rows + rows - 1) / rows);
  const int64_t column_tasks = std::max<int64_t>(1, tasks / row_tasks);
  const int64_t columns = (result.columns + column_tasks - 1) / column_tasks;
  return {rows, (columns + kPanelColumns - 1) / kPanelColumns * kPanelColumns};
}

}  // namespace

LeftFactor FromRow(LeftFactor left, int64_t row) {
  if (left.rows != nullptr) {
    left.rows += row;
  } else {
    left.data += row * left.stride;
  }
  return left;
}

RightFactor FromColumn(RightFactor right, int64_t column) {
  const int64_t values = right.order == RightOrder::kByDepth ? column : column * right.stride;
  right.data =
      static_cast<const std::byte*>(right.data) + values * (right.type == RightType::kFp32 ? 4 : 2);
  return right;
}

void Multiply(std::span<const MatrixTerm> terms, const MatrixResult& result) {
  bool add = result.add;
  for (const MatrixTerm& term : terms) {
    const int64_t most = BlockDepth(term.right.type);
    for (int64_t from = 0; from < term.depth; from += most) {
      const int64_t depth = std::min(most, term.depth - from);
      const LeftFactor left = LeftOfBlock(term, from, depth, result.rows);
      for (int64_t begin = 0; begin < result.columns; begin += kBlockColumns) {
        const int64_t columns = std::min(kBlockColumns, result.columns - begin);
        MultiplyBlock({left, term.right, from, depth, begin, columns, add}, result);
      }
      add = true;
    }
  }
}

void MultiplyInParallel(std::span<const MatrixTerm> terms, const MatrixResult& result) {
  const Cuts cuts = CutsOf(result);
  const int64_t row_tasks = (result.rows + cuts.rows - 1) / cuts.rows;
  const int64_t column_tasks = (result.columns + cuts.columns - 1) / cuts.columns;
  InParallel(row_tasks * column_tasks, [&](int64_t task) {
    const int64_t row = task / column_tasks * cuts.rows,
                  column = task % column_tasks * cuts.columns;
    std::vector<MatrixTerm> own(terms.begin(), terms.end());
    for (MatrixTerm& term : own) {
      term.left = FromRow(term.left, row);
      term.right = FromColumn(term.right, column);
    }
    Multiply(own, {result.data + row * result.stride + column, result.stride,
                   std::min(cuts.rows, result.rows - row),
                   std::min(cuts.columns, result.columns - column), result.add});
  });
}

}  // namespace fedtune
