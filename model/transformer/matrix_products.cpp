// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/matrix_products.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "model/transformer/amx_panel.h"
#include "model/transformer/matrix_tiles.h"
#include "model/transformer/parallel.h"

namespace fedtune {
namespace {

// So many steps of depth add up in registers: some rows of the left factor stay in the
// first cache, and a panel of the right one in the second.
constexpr int64_t kMostSteps = 1024;

// Some columns of the right factors are packed, then all rows go through them.
constexpr int64_t kPackedValues = 384 * 192;
constexpr int64_t kMostColumns = 4 * kPanelColumns;

// Up to so many rows, packing costs more than it saves.
constexpr int64_t kFewRows = kTileRows;

// So many values of the room, which grows if it has to, on whole cache lines.
float* LinesOf(std::vector<float>& room, int64_t size) {
  constexpr size_t kLine = 16;
  room.resize(std::max(room.size(), static_cast<size_t>(size) + kLine));
  const auto address = reinterpret_cast<uintptr_t>(room.data());
  return room.data() + (64 - address % 64) % 64 / sizeof(float);
}

float* PackingBuffer() {
  thread_local std::vector<float> buffer;
  return LinesOf(buffer, std::max(kPackedValues, kMostSteps * kPanelColumns));
}

// Of a panel: of pairs where a factor is multiplied in them.
int64_t StepsOf(RightType type, int64_t depth) {
  return RoundsLeft(type) ? PanelPairs(depth) : depth;
}

struct ColumnSpan {
  int64_t begin;
  int64_t count;
};

float* PackAny(const RightFactor& right, int64_t from, int64_t depth, ColumnSpan columns,
               float* room) {
  const auto pack = RoundsLeft(right.type) ? PackPairPanels : PackPanels;
  return pack(right, from, depth, columns.begin, columns.count, room);
}

// Some depth of a term; steps are of pairs where values are.
struct Stretch {
  LeftFactor left;  // As tiles take it; begins with the first value.
  RightFactor right;
  int64_t from;  // In depth.
  int64_t depth;
  bool stays_unpacked;

  bool in_pairs() const { return RoundsLeft(right.type); }
  int64_t steps() const { return StepsOf(right.type, depth); }
};

// Stretches whose products add up in registers.
using Group = std::vector<Stretch>;

bool CanStayUnpacked(const RightFactor& right, int64_t rows) {
  return rows <= kFewRows && right.order == RightOrder::kByDepth &&
         right.type == RightType::kFp32 && right.rows == nullptr && right.panels == nullptr;
}

// The term's left factor from some depth on, as tiles take it. The pairs of one that
// rounds are there.
LeftFactor LeftFrom(const MatrixTerm& term, int64_t from) {
  LeftFactor left = term.left;
  if (RoundsLeft(term.right.type)) {
    return {.data = left.pairs + from / 2, .stride = left.pair_stride, .rows = left.rows};
  }
  left.data += from * left.step;
  return left;
}

// Cuts the terms' depth, which says alone how values add up; that of pairs in whole steps.
std::vector<Group> GroupsOf(std::span<const MatrixTerm> terms, int64_t rows) {
  std::vector<Group> groups(1);
  int64_t room = kMostSteps;
  for (const MatrixTerm& term : terms) {
    const bool in_pairs = RoundsLeft(term.right.type);
    for (int64_t from = 0; from < term.depth;) {
      const int64_t steps = in_pairs ? WholeSteps(room) : room;
      if (steps == 0) {
        groups.emplace_back();
        room = kMostSteps;
        continue;
      }
      const int64_t depth = std::min(term.depth - from, in_pairs ? 2 * steps : steps);
      groups.back().push_back(
          {LeftFrom(term, from), term.right, from, depth, CanStayUnpacked(term.right, rows)});
      room -= groups.back().back().steps();
      from += depth;
    }
  }
  return groups;
}

int64_t ColumnsTogether(const Group& group) {
  int64_t steps = 0;
  for (const Stretch& stretch : group) steps += stretch.steps();
  const int64_t panels = kPackedValues / (std::max<int64_t>(1, steps) * kPanelColumns);
  return std::clamp(panels * kPanelColumns, kPanelColumns, kMostColumns);
}

MatrixResult PanelOf(const MatrixResult& columns, int64_t begin) {
  MatrixResult panel = columns;
  panel.data += begin;
  panel.columns = std::min(kPanelColumns, columns.columns - begin);
  return panel;
}

// Columns of a stretch's right factor from the block's `begin` on, as tiles take them.
struct PackedColumns {
  const float* data;
  int64_t stride;   // Of rows that are not packed, or 0.
  int64_t steps;    // Of whole panels,
  int64_t columns;  // up to the last of them,
  int64_t from;     // and where the stretch begins in them.

  const float* Panel(int64_t column) const {
    return stride != 0 ? data + column : data + column * steps + from * RowStep(column);
  }
  int64_t RowStep(int64_t column) const {
    return stride != 0 ? stride : PanelWidth(std::min(kPanelColumns, columns - column));
  }
};

// The same of a factor that is packed already.
PackedColumns ColumnsOf(const Stretch& stretch, int64_t begin) {
  const RightFactor& right = stretch.right;
  const int64_t steps = StepsOf(right.type, right.panel_depth);
  return {right.panels + begin * steps, 0, steps, right.panel_columns - begin,
          stretch.in_pairs() ? stretch.from / 2 : stretch.from};
}

std::vector<PackedColumns> PackColumns(const Group& group, int64_t begin, int64_t columns) {
  std::vector<PackedColumns> packed;
  float* room = PackingBuffer();
  for (const Stretch& stretch : group) {
    const RightFactor& right = stretch.right;
    if (stretch.stays_unpacked) {
      const auto* values = static_cast<const float*>(right.data);
      packed.push_back({values + stretch.from * right.stride + begin, right.stride, 0, 0, 0});
    } else if (right.panels != nullptr) {
      packed.push_back(ColumnsOf(stretch, begin));
    } else {
      packed.push_back({room, 0, stretch.steps(), columns, 0});
      room = PackAny(right, stretch.from, stretch.depth, {begin, columns}, room);
    }
  }
  return packed;
}

// What each row of a left factor begins with.
std::vector<const float*> RowsOf(const LeftFactor& left, int64_t count) {
  std::vector<const float*> rows(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    rows[static_cast<size_t>(i)] =
        left.data + (left.rows != nullptr ? left.rows[i] : i) * left.stride;
  }
  return rows;
}

// All rows of a panel. Segments begin at the first.
void MultiplyPanel(std::span<TileSegment> segments, const MatrixResult& panel) {
  Tile tile;
  tile.segments = segments;
  tile.result_stride = panel.stride;
  tile.columns = panel.columns;
  tile.add = panel.add;
  for (int64_t m = 0; m < panel.rows; m += kTileRows) {
    tile.rows = std::min(kTileRows, panel.rows - m);
    tile.result = panel.data + m * panel.stride;
    ComputeTile(tile);
    for (TileSegment& segment : segments) segment.left += tile.rows;
  }
}

bool IsForAmx(const Stretch& stretch) { return stretch.in_pairs() && HasAmxKernels(); }

// A group's stretches whose factors are multiplied by vectors, with their rows.
class VectorProducts {
 public:
  VectorProducts(const Group& group, int64_t rows) : group_(group), rows_(group.size()) {
    for (size_t i = 0; i < group.size(); ++i) {
      if (!IsForAmx(group[i])) rows_[i] = RowsOf(group[i].left, rows);
    }
  }

  // The panel of the packed columns from one on.
  void Multiply(const std::vector<PackedColumns>& packed, int64_t column,
                const MatrixResult& panel) {
    segments_.clear();
    for (size_t i = 0; i < group_.size(); ++i) {
      if (IsForAmx(group_[i])) continue;
      const bool in_pairs = group_[i].in_pairs();
      segments_.push_back({in_pairs ? TileValues::kBf16Pairs : TileValues::kFp32, rows_[i].data(),
                           group_[i].left.step, packed[i].Panel(column), packed[i].RowStep(column),
                           in_pairs ? PairsOf(group_[i].depth) : group_[i].depth});
    }
    MultiplyPanel(segments_, panel);
  }

 private:
  const Group& group_;
  std::vector<std::vector<const float*>> rows_;
  std::vector<TileSegment> segments_;
};

// What AMX multiplies of the packed columns.
void MultiplyByAmx(const Group& group, const std::vector<PackedColumns>& packed,
                   const MatrixResult& columns) {
  std::vector<AmxPanel> panels;
  for (int64_t n = 0; n < columns.columns; n += kPanelColumns) {
    AmxPanel panel = {{}, PanelOf(columns, n)};
    for (size_t i = 0; i < group.size(); ++i) {
      if (!IsForAmx(group[i])) continue;
      const LeftFactor& left = group[i].left;
      panel.segments.push_back({left.data, left.stride, packed[i].Panel(n), packed[i].RowStep(n),
                                PanelPairs(group[i].depth)});
    }
    panels.push_back(std::move(panel));
  }
  MultiplyByAmx(panels);
}

void MultiplyGroup(const Group& group, const MatrixResult& result) {
  const int64_t together = ColumnsTogether(group);
  const bool some_by_amx = std::any_of(group.begin(), group.end(), IsForAmx);
  const bool all_by_amx = some_by_amx && std::all_of(group.begin(), group.end(), IsForAmx);
  VectorProducts by_vectors(group, result.rows);
  for (int64_t begin = 0; begin < result.columns; begin += together) {
    MatrixResult columns = result;
    columns.data += begin;
    columns.columns = std::min(together, result.columns - begin);
    const std::vector<PackedColumns> packed = PackColumns(group, begin, columns.columns);
    if (some_by_amx) MultiplyByAmx(group, packed, columns);
    if (all_by_amx) continue;
    columns.add |= some_by_amx;
    for (int64_t n = 0; n < columns.columns; n += kPanelColumns) {
      by_vectors.Multiply(packed, n, PanelOf(columns, n));
    }
  }
}

// Whether the pairs' rows are as a product takes them: AMX's tiles read whole steps of rows
// that are as far from each other.
bool AreReady(const LeftFactor& left, int64_t depth) {
  return !HasAmxKernels() || (left.rows == nullptr && PairsOf(depth) == PanelPairs(depth));
}

// The pairs of a term's left factor, with zeros up to whole steps.
LeftFactor PairsIn(std::vector<float>& room, const MatrixTerm& term, int64_t rows) {
  const int64_t pairs = PairsOf(term.depth), stride = PanelPairs(term.depth);
  float* to = LinesOf(room, rows * stride);
  if (term.left.pairs == nullptr) {
    PackPairRows(term.left, term.depth, rows, to, stride);
  } else {
    const std::vector<const float*> from = RowsOf(LeftFrom(term, 0), rows);
    for (int64_t i = 0; i < rows; ++i) {
      std::copy_n(from[static_cast<size_t>(i)], pairs, to + i * stride);
    }
  }
  for (int64_t i = 0; i < rows; ++i) std::fill_n(to + i * stride + pairs, stride - pairs, 0.0F);
  return {.pairs = to, .pair_stride = stride};
}

// The terms, with pairs as products take them. Those of different terms must not share room.
std::vector<MatrixTerm> WithPairs(std::span<const MatrixTerm> terms, int64_t rows) {
  thread_local std::vector<std::vector<float>> rooms;
  if (rooms.size() < terms.size()) rooms.resize(terms.size());
  std::vector<MatrixTerm> ready(terms.begin(), terms.end());
  for (size_t i = 0; i < ready.size(); ++i) {
    MatrixTerm& term = ready[i];
    if (!RoundsLeft(term.right.type)) continue;
    if (term.left.pairs != nullptr && AreReady(term.left, term.depth)) continue;
    term.left = PairsIn(rooms[i], term, rows);
  }
  return ready;
}

bool HasFp32Values(const RightFactor& right) {
  return right.type == RightType::kFp32 || right.type == RightType::kFp32ByBf16;
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
    return left;
  }
  if (left.data != nullptr) left.data += row * left.stride;
  if (left.pairs != nullptr) left.pairs += row * left.pair_stride;
  return left;
}

RightFactor FromColumn(RightFactor right, int64_t column) {
  const int64_t values = right.order == RightOrder::kByDepth ? column : column * right.stride;
  right.data = static_cast<const std::byte*>(right.data) + values * (HasFp32Values(right) ? 4 : 2);
  return right;
}

RightFactor PackedFactor::Pack(const RightFactor& right, int64_t depth, int64_t columns) {
  RightFactor packed = right;
  float* room = LinesOf(room_, StepsOf(right.type, depth) * PanelWidth(columns));
  PackAny(right, 0, depth, {0, columns}, room);
  packed.panels = room;
  packed.panel_depth = depth;
  packed.panel_columns = columns;
  return packed;
}

LeftFactor GatheredRows::Of(const LeftFactor& left, int64_t depth, int64_t rows) {
  if (left.pairs == nullptr || left.rows == nullptr || !HasAmxKernels()) return left;
  return PairsIn(room_, {left, {.type = RightType::kBf16ByBf16}, depth}, rows);
}

void Multiply(std::span<const MatrixTerm> terms, const MatrixResult& result) {
  MatrixResult part = result;
  for (const Group& group : GroupsOf(WithPairs(terms, result.rows), result.rows)) {
    MultiplyGroup(group, part);
    part.add = true;
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
