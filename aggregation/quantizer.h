// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/quantize_kernels.h"
#include "privacy/secure_aggregation/mask_stream.h"
#include "privacy/secure_aggregation/ring.h"

namespace fedtune {

// Bits of a signed integer, its sign included, that as many clients as
// `max_cohort` may add without leaving the ring: the largest p with
//
//   max_cohort (2^(p-1) - 1) + noise_bound < 2^(ring - 1)
//
// but at most 30; 0 if there is none. `noise_bound`: what noise may add to the
// sum, in steps.
int LargestPrecision(RingBits ring, int64_t max_cohort, int64_t noise_bound = 0);

// What all clients of a round must agree on; public.
struct QuantizerSettings {
  RingBits ring = RingBits::k32;
  int64_t max_cohort = 0;
  double clip = 1;         // Magnitude at which a value is cut.
  int64_t max_weight = 1;  // No client weighs more.
  int64_t noise_bound = 0;
};

// Values as integers of a ring, so that their sum is exact in any order, and the
// sum as a mean. With p = LargestPrecision() and S = 2^(p-1) - 1:
//
//   q = round(clipped x * (w / max_weight) * S / clip)
//   mean = (sum q * clip / S) * max_weight / sum w
//
// Rounding is stochastic, so that no mean is biased: q is off by less than one
// step, and by 2^-17 on average, besides the 2^-23 of itself that fp32 is off.
// The rounding is drawn from a secret key, 16 bits a value, and so is the same
// after a restart, in whatever pieces and order. Immutable.
class Quantizer {
 public:
  // Bits below which a mean of clients is too coarse to train with.
  static constexpr int kLeastPrecision = 8;

  // INVALID_ARGUMENT: settings that leave fewer bits, with the numbers, or a clip
  // or weight that is not positive.
  static absl::StatusOr<Quantizer> Create(const QuantizerSettings& settings);

  const QuantizerSettings& settings() const { return settings_; }

  // Values first, first + 1, ... of a client's vector as elements of the ring.
  // `rounding` has one stream, of the client's secret key for this round, in the
  // ring of 32 bits. Requires: finite values, as many elements, and a weight from
  // 1 to max_weight. Thread-safe.
  void Quantize(const MaskStreams& rounding, int64_t weight, int64_t first,
                std::span<const float> values, std::span<uint32_t> elements) const;

  // The mean of `contributions` clients of `total_weight` together, in fp64,
  // rounded to fp32 at the end. Requires: as many values, a positive weight.
  //
  // OUT_OF_RANGE: a sum that as many clients of that weight cannot have; somebody has
  // not quantised as agreed.
  absl::Status Mean(std::span<const uint32_t> sums, int64_t contributions, int64_t total_weight,
                    std::span<float> mean) const;

 private:
  explicit Quantizer(const QuantizerSettings& settings);

  QuantizerSettings settings_;
  int32_t largest_;  // S.
  QuantizeKernel kernel_;
};

}  // namespace fedtune
