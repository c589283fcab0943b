// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/element_source.h"
#include "aggregation/masked_layout.h"
#include "aggregation/mean_source.h"
#include "aggregation/round_counters.h"
#include "aggregation/value_range.h"
#include "aggregation/value_source.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secure_aggregation/mask_stream.h"

namespace fedtune {

// What one client has to sum in a round: the values stay where they are.
struct SummedDelta {
  std::shared_ptr<const ValueSource> values;  // May be null where there are none.
  ValueRange range = {};                      // Over all of them.
  const AdapterLayout& adapter;
  FactorSet factors = FactorSet::kBoth;
};

// The vector that one client masks, made piece by piece as it is asked for: the
// same bytes in whatever pieces, in whatever order, on as many threads as may
// be, and after a restart. Its bytes must never be masked twice with the same
// masks and another delta: keep what it was made of until the round is over.
class MaskedVector {
 public:
  // `rounding_key` is the client's secret for this round, 32 bytes.
  //
  // INVALID_ARGUMENT: another number of values than the layout has, one that is
  // not finite (its place is named), a weight of 0 for values, or a number that
  // its counter does not hold (named).
  static absl::StatusOr<MaskedVector> Create(const MaskedLayout& layout, SummedDelta delta,
                                             const CountedRound& round,
                                             const SecretBytes& rounding_key);

  int64_t element_count() const { return layout_.element_count(); }

  // Elements from `first` on. Requires: there are as many. Thread-safe.
  // Errors: of where the values lie.
  absl::Status Read(int64_t first, std::span<uint32_t> elements) const;

 private:
  MaskedVector(MaskedLayout layout, std::shared_ptr<const ValueSource> values, int64_t weight,
               std::vector<uint32_t> limbs);

  MaskedLayout layout_;
  std::shared_ptr<const ValueSource> values_;
  int64_t weight_;
  std::vector<uint32_t> limbs_;  // What stands behind the values.
  MaskStreams rounding_{RingBits::k32};
};

// What the coordinator has when the masks are off: the sum of all survivors'
// vectors, read as a mean, piece by piece.
class UnmaskedSum final : public MeanSource {
 public:
  // `sum` is that of the vectors of `contributions` clients in the ring.
  //
  // INVALID_ARGUMENT: another number of elements. OUT_OF_RANGE: counters that as
  // many clients cannot have. Errors of reading it.
  static absl::StatusOr<UnmaskedSum> Create(MaskedLayout layout, FactorSet factors,
                                            std::shared_ptr<const ElementSource> sum,
                                            int64_t contributions);

  // Contributions, their total weight, and the sums of their metrics.
  const CountedRounds& counted() const { return counted_; }
  const MaskedLayout& layout() const { return layout_; }

  FactorSet factors() const override { return factors_; }

  // OUT_OF_RANGE: a sum that as many clients cannot have. Errors of reading it.
  absl::Status Mean(int64_t first, std::span<float> mean) const override;

 private:
  UnmaskedSum(MaskedLayout layout, FactorSet factors, std::shared_ptr<const ElementSource> sum,
              CountedRounds counted);

  MaskedLayout layout_;
  FactorSet factors_;
  std::shared_ptr<const ElementSource> sum_;
  CountedRounds counted_;
};

}  // namespace fedtune
