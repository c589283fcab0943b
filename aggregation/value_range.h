// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>

namespace fedtune {

// How large values are that come in pieces, and where the largest one is. Not
// thread-safe.
class ValueRange {
 public:
  ValueRange() = default;
  // As one said that has seen the values.
  ValueRange(int64_t count, float extreme, int64_t extreme_index)
      : count_(count), extreme_(extreme), extreme_index_(extreme_index) {}

  void Add(std::span<const float> values);

  int64_t count() const { return count_; }

  // Whether all values so far are finite.
  bool finite() const;

  // The value of the largest magnitude or, unless all are finite, the first one
  // that is not. 0 where there are none.
  float extreme() const { return extreme_; }
  int64_t extreme_index() const { return extreme_index_; }

 private:
  int64_t count_ = 0;
  float extreme_ = 0;
  int64_t extreme_index_ = 0;
};

}  // namespace fedtune
