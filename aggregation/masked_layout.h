// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/quantizer.h"

namespace fedtune {

// A whole number that travels beside the values of a masked vector.
struct Counter {
  std::string name;
  int64_t most = 0;  // Of one client; the least is 0.
};

// How everything that a secure round sums lies in one vector of ring elements:
//
//   values      one element each, quantised
//   counters    one after the other, as limbs of limb_bits_ bits, the lowest
//               first; as many as the counter's largest value has
//
// limb_bits_ is such that a limb's sum over max_cohort clients stays below half
// the ring. Immutable.
class MaskedLayout {
 public:
  // INVALID_ARGUMENT: as Quantizer::Create(), a counter without a range, or one
  // whose sum over max_cohort clients could leave 63 bits.
  static absl::StatusOr<MaskedLayout> Create(const QuantizerSettings& settings, int64_t value_count,
                                             std::vector<Counter> counters);

  const Quantizer& quantizer() const { return quantizer_; }
  int64_t value_count() const { return value_count_; }
  int64_t element_count() const { return value_count_ + limb_count_; }
  int64_t limb_count() const { return limb_count_; }
  const std::vector<Counter>& counters() const { return counters_; }

  // The elements behind the values. INVALID_ARGUMENT: a number is not within its
  // counter's range (named). Requires: a number for each counter.
  absl::StatusOr<std::vector<uint32_t>> Limbs(std::span<const int64_t> numbers) const;

  // The sums of the counters over as many clients. Requires: limb_count() limbs.
  // OUT_OF_RANGE: sums that as many clients cannot have.
  absl::StatusOr<std::vector<int64_t>> Sums(std::span<const uint32_t> limbs,
                                            int64_t contributions) const;

 private:
  MaskedLayout(const Quantizer& quantizer, int64_t value_count, std::vector<Counter> counters);

  int64_t LimbsOf(const Counter& counter) const;

  Quantizer quantizer_;
  int64_t value_count_;
  std::vector<Counter> counters_;
  int limb_bits_;
  int64_t limb_count_ = 0;
};

}  // namespace fedtune
