// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/packed_batch.h"

#include <algorithm>
#include <numeric>

#include "ATen/ops/from_blob.h"
#include "ATen/ops/zeros.h"
#include "base/check.h"

namespace fedtune {

int64_t PackedBatch::Append(std::span<const int32_t> tokens, const Segment& prefix) {
  Check(!tokens.empty(), "a segment without tokens");
  const int64_t begin = rows();
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  positions_.resize(tokens_.size());
  std::iota(positions_.begin() + begin, positions_.end(), prefix.size());
  segments_.push_back({begin, rows(), prefix.begin, prefix.end});
  return static_cast<int64_t>(segments_.size()) - 1;
}

int64_t PackedBatch::Add(std::span<const int32_t> tokens) { return Append(tokens, {}); }

int64_t PackedBatch::AddContinuation(int64_t prefix, std::span<const int32_t> tokens) {
  const Segment& segment = segments_.at(static_cast<size_t>(prefix));
  Check(segment.prefix_size() == 0, "a continuation of a continuation");
  return Append(tokens, Segment(segment));
}

namespace {

// Rows that attend together: one segment, or all continuations of one prefix.
struct Group {
  std::span<const Segment> segments;

  int64_t prefix_begin() const { return segments.front().prefix_begin; }
  int64_t prefix_size() const { return segments.front().prefix_size(); }
  int64_t begin() const { return segments.front().begin; }
  int64_t size() const { return segments.back().end - begin(); }
  bool is_causal() const { return prefix_size() == 0; }
};

std::vector<Group> GroupsOf(std::span<const Segment> segments) {
  std::vector<Group> groups;
  for (size_t begin = 0, end = 0; begin < segments.size(); begin = end) {
    const Segment& first = segments[begin];
    end = begin + 1;
    while (first.prefix_size() > 0 && end < segments.size() &&
           segments[end].prefix_begin == first.prefix_begin && segments[end].prefix_size() > 0) {
      ++end;
    }
    groups.push_back({segments.subspan(begin, end - begin)});
  }
  return groups;
}

// Whether padding a group to the size of a larger one costs less than a call of
// its own would.
bool FitsWith(const Group& largest, const Group& group) {
  constexpr int64_t kSmall = 128;
  const int64_t rows = largest.size() + largest.prefix_size();
  if (group.is_causal() != largest.is_causal()) return false;
  return rows <= kSmall || 4 * (group.size() + group.prefix_size()) >= 3 * rows;
}

at::Tensor Indices(const std::vector<int64_t>& values, at::Device device) {
  const at::Tensor view = at::from_blob(const_cast<int64_t*>(values.data()),
                                        {static_cast<int64_t>(values.size())}, at::kLong);
  return view.to(device, at::kLong, /*non_blocking=*/false, /*copy=*/true);
}

// Lets each row of `group` see the prefix, and its own segment up to itself.
// Keys are the padded prefix and then the padded group.
void Reveal(const Group& group, int64_t padded_prefix, at::Tensor mask) {
  auto seen = mask.accessor<bool, 2>();
  for (const Segment& segment : group.segments) {
    for (int64_t row = segment.begin; row < segment.end; ++row) {
      const int64_t query = row - group.begin();
      for (int64_t key = 0; key < group.prefix_size(); ++key) seen[query][key] = true;
      const int64_t first = padded_prefix + segment.begin - group.begin();
      const int64_t last = padded_prefix + query;
      for (int64_t key = first; key <= last; ++key) seen[query][key] = true;
    }
  }
}

// Appends `size` rows from `begin`, and repeats the last up to `padded`.
void AppendRows(int64_t begin, int64_t size, int64_t padded, std::vector<int64_t>& rows) {
  for (int64_t i = 0; i < padded; ++i) rows.push_back(begin + std::min(i, size - 1));
}

// Keys and mask of continuations.
void AddPrefixes(std::span<const Group> groups, at::Device device, AttentionBlock& block) {
  int64_t padded_prefix = 0;
  for (const Group& group : groups) padded_prefix = std::max(padded_prefix, group.prefix_size());
  block.key_length = padded_prefix + block.query_length;
  at::Tensor mask = at::zeros({block.count, 1, block.query_length, block.key_length},
                              at::TensorOptions(at::kBool));
  std::vector<int64_t> rows;
  for (size_t i = 0; i < groups.size(); ++i) {
    const Group& group = groups[i];
    AppendRows(group.prefix_begin(), group.prefix_size(), padded_prefix, rows);
    AppendRows(group.begin(), group.size(), block.query_length, rows);
    const at::Tensor own = mask.select(0, static_cast<int64_t>(i)).select(0, 0);
    own.select(1, 0).fill_(true);  // Padding, too, sees something: softmax of nothing is NaN.
    Reveal(group, padded_prefix, own);
  }
  block.key_rows = Indices(rows, device);
  block.mask = mask.to(device);
}

AttentionBlock BlockOf(std::span<const Group> groups, at::Device device) {
  AttentionBlock block;
  block.count = static_cast<int64_t>(groups.size());
  for (const Group& group : groups) block.query_length = std::max(block.query_length, group.size());
  block.key_length = block.query_length;
  if (!groups.front().is_causal()) AddPrefixes(groups, device, block);
  return block;
}

// Continuations last, the larger the earlier.
void SortGroups(std::vector<Group>& groups) {
  const auto key = [](const Group& group) {
    return std::pair(!group.is_causal(), -(group.size() + group.prefix_size()));
  };
  std::stable_sort(groups.begin(), groups.end(),
                   [&](const Group& a, const Group& b) { return key(a) < key(b); });
}

}  // namespace

AttentionPlan PlanAttention(const PackedBatch& batch, at::Device device) {
  std::vector<Group> groups = GroupsOf(batch.segments());
  SortGroups(groups);
  AttentionPlan plan;
  plan.segments = batch.segments();
  std::vector<int64_t> row_of_slot;
  std::vector<int64_t> slot_of_row(batch.tokens().size());
  for (size_t begin = 0, end = 0; begin < groups.size(); begin = end) {
    while (end < groups.size() && FitsWith(groups[begin], groups[end])) ++end;
    const std::span<const Group> together = std::span(groups).subspan(begin, end - begin);
    plan.blocks.push_back(BlockOf(together, device));
    for (const Group& group : together) {
      std::iota(slot_of_row.begin() + group.begin(),
                slot_of_row.begin() + group.begin() + group.size(),
                static_cast<int64_t>(row_of_slot.size()));
      AppendRows(group.begin(), group.size(), plan.blocks.back().query_length, row_of_slot);
    }
  }
  plan.in_order = row_of_slot.size() == slot_of_row.size() &&
                  std::is_sorted(row_of_slot.begin(), row_of_slot.end());
  plan.row_of_slot = Indices(row_of_slot, device);
  plan.slot_of_row = Indices(slot_of_row, device);
  return plan;
}

}  // namespace fedtune
