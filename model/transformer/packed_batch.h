// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ATen/core/Tensor.h"

namespace fedtune {

// Rows [begin, end) of a packed batch that belong to one sequence: each attends
// to itself, to the rows before it in the segment, and to all rows of
// [prefix_begin, prefix_end), another segment whose sequence this one continues.
struct Segment {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t prefix_begin = 0;
  int64_t prefix_end = 0;

  int64_t size() const { return end - begin; }
  int64_t prefix_size() const { return prefix_end - prefix_begin; }
};

// Sequences one behind the other, without padding: [rows] tokens. Records that
// have nothing to do with each other are segments without a prefix; many
// answers to one prompt are segments with the prompt's rows as their prefix, so
// that the prompt is computed once.
class PackedBatch {
 public:
  // A new sequence. Returns its index among the segments.
  int64_t Add(std::span<const int32_t> tokens);

  // One that continues segment `prefix`, itself one without a prefix. Segments
  // of one prefix must be added one directly behind the other.
  int64_t AddContinuation(int64_t prefix, std::span<const int32_t> tokens);

  int64_t rows() const { return static_cast<int64_t>(tokens_.size()); }
  const std::vector<int64_t>& tokens() const { return tokens_; }
  const std::vector<int64_t>& positions() const { return positions_; }
  const std::vector<Segment>& segments() const { return segments_; }

 private:
  int64_t Append(std::span<const int32_t> tokens, const Segment& prefix);

  std::vector<int64_t> tokens_;
  std::vector<int64_t> positions_;
  std::vector<Segment> segments_;
};

// Sequences of similar length that attend together, padded to a rectangle.
struct AttentionBlock {
  int64_t count = 0;
  int64_t query_length = 0;
  int64_t key_length = 0;

  // For continuations: [count * key_length] rows of keys and values, and
  // [count, 1, query_length, key_length], true where a query sees a key.
  // Undefined when the keys are the queries' rows and the mask is causal.
  at::Tensor key_rows;
  at::Tensor mask;

  int64_t slots() const { return count * query_length; }
};

// How the rows of a packed batch are laid out for attention.
struct AttentionPlan {
  std::vector<Segment> segments;  // Of the batch.
  std::vector<AttentionBlock> blocks;
  at::Tensor row_of_slot;  // [slots]; padding repeats a row.
  at::Tensor slot_of_row;  // [rows]
  bool in_order = false;   // Slots are rows: nothing needs to be moved.
};

AttentionPlan PlanAttention(const PackedBatch& batch, at::Device device);

}  // namespace fedtune
