// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/mean_source.h"
#include "aggregation/value_range.h"
#include "aggregation/value_source.h"

namespace fedtune {

// The weighted sum of one round's contributions, in integers: the result is the
// same bytes in whatever order they come.
//
// The contributions stay where they are; whoever wants the mean reads them piece
// by piece, so that memory does not grow with their number.
//
// Each value becomes round(value * 2^36), ties to even, times its integer
// weight. So the mean is off by at most 2^-37 (7.3e-12) before it is rounded to
// fp32; values of 2^-13 (1.2e-4) and more lose nothing at all, as 24 bits of
// significand end above 2^-36.
//
// Not thread-safe, but for several threads that read the mean.
class WeightedSum final : public MeanSource {
 public:
  static constexpr int kFractionBits = 36;

  // Of the values that belong to `factors`.
  WeightedSum(AdapterLayout layout, FactorSet factors);

  // Adds `delta`, the tensors of the factors in layout order, `weight` times.
  // `range` is what a ValueRange has seen of all its values. All of it or, on
  // error, nothing.
  //
  // INVALID_ARGUMENT: another number of values, a weight below 1, or a value
  // that is not finite (named). OUT_OF_RANGE: a value of 2^14 or more, or values
  // so large for their weight that the sum could leave 62 bits: the client's
  // training has diverged.
  absl::Status Add(std::shared_ptr<const ValueSource> delta, const ValueRange& range,
                   int64_t weight);

  // What Add() would say.
  absl::Status CanAdd(const ValueRange& range, int64_t weight) const;

  // Which contributions cannot be read from where they lie, by the order in which they
  // were added. Reads all of them.
  std::vector<size_t> Unreadable() const;

  // Takes one out again; those behind it move up.
  void Remove(size_t index);

  FactorSet factors() const override { return factors_; }
  int64_t value_count() const { return layout_.parameter_count(factors_); }

  // sum / total_weight in fp64, rounded to fp32. Errors: of the places where the
  // contributions lie.
  absl::Status Mean(int64_t first, std::span<float> mean) const override;

 private:
  struct Contribution {
    std::shared_ptr<const ValueSource> delta;
    int64_t weight;
    int64_t magnitude;  // No value's, times the weight, is above it.
  };

  absl::Status Probe(const ValueSource& delta) const;

  absl::Status TooLarge(const ValueRange& range, int64_t weight) const;

  AdapterLayout layout_;
  FactorSet factors_;
  std::vector<Contribution> contributions_;
  int64_t magnitude_bound_ = 0;  // No sum's magnitude is above it.
  int64_t total_weight_ = 0;
};

}  // namespace fedtune
