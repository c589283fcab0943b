// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

// Shamir's secret sharing (1979) over the integers modulo 2^61 - 1. A secret of
// 32 bytes is five limbs of 52 bits, little-endian; a share is the five limbs'
// polynomials at one point, 8 bytes each, little-endian.
inline constexpr size_t kSharedSecretSize = 32;
inline constexpr size_t kShareLimbs = 5;
inline constexpr size_t kShareSize = 8 * kShareLimbs;

// Shares for the points 1 to `count`: any `threshold` of them give the secret,
// fewer nothing. The polynomials' coefficients follow from `seed` (32 bytes), so
// that the same call gives the same shares.
//
// Requires: 1 <= threshold <= count.
std::vector<SecretBytes> SplitSecret(const SecretBytes& secret, int threshold, int count,
                                     const SecretBytes& seed);

// The same with coefficients of one's own, for known answers: coefficient(limb,
// power) for the powers from 1 to threshold - 1.
std::vector<SecretBytes> SplitSecretWith(
    const SecretBytes& secret, int threshold, int count,
    const std::function<uint64_t(size_t limb, int power)>& coefficient);

// Rebuilds secrets from shares at certain points; what depends on the points only
// is computed once. Thread-safe.
class SecretCombiner {
 public:
  // INVALID_ARGUMENT: no point, a point of 0, or one that comes twice.
  static absl::StatusOr<SecretCombiner> Create(const std::vector<uint32_t>& points);

  // The secret whose shares at the points, in their order, are these. Shares that
  // do not belong together give another secret.
  //
  // INVALID_ARGUMENT: another number of shares than of points, a malformed share,
  // or a result that is no secret of 32 bytes.
  absl::StatusOr<SecretBytes> Combine(std::span<const SecretBytes* const> shares) const;

 private:
  explicit SecretCombiner(std::vector<uint64_t> weights) : weights_(std::move(weights)) {}

  std::vector<uint64_t> weights_;  // Lagrange's, at 0.
};

}  // namespace fedtune
