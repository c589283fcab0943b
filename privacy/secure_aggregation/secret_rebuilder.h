// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/secure_aggregation/shamir.h"

namespace fedtune {

// Somebody's share of a secret; the share must outlive it.
struct GivenShare {
  uint32_t giver = 0;
  uint32_t point = 0;
  const SecretBytes* share = nullptr;
};

// Rebuilds secrets from shares of which some may be wrong, as long as one can
// tell the right secret when one has it, and remembers who gave wrong ones.
//
// Wrong shares are searched by leaving givers out: known liars first, then every
// choice of `threshold` shares where these are few, and thousands of random ones
// where they are many. Any number of liars is found while the choices are at
// most kMostTries (ten clients: always); beyond that a few in a hundred are.
//
// Not thread-safe.
class SecretRebuilder {
 public:
  static constexpr int kMostTries = 20'000;

  explicit SecretRebuilder(int threshold) : threshold_(threshold) {}

  // FAILED_PRECONDITION: fewer shares than the threshold, or no choice of them
  // that was tried gives a secret that `is_right`.
  absl::StatusOr<SecretBytes> Rebuild(std::vector<GivenShare> shares,
                                      const std::function<bool(const SecretBytes&)>& is_right);

  // Everyone who gave a share that is not of the secret that was rebuilt last, by
  // the choice from which the fewest differ: of `count` shares, fewer liars than
  // (count - threshold) / 2 + 1 are told from honest ones even if they lie
  // together. It is no proof: who sealed the share may have lied.
  const std::set<uint32_t>& liars() const { return liars_; }

 private:
  // The secret of these shares; none when they cannot be shares of one.
  absl::StatusOr<SecretBytes> Combine(const std::vector<GivenShare>& chosen);
  std::set<uint32_t> Differing(const std::vector<GivenShare>& shares, std::vector<GivenShare> right,
                               const SecretBytes& secret);

  int threshold_;
  std::set<uint32_t> known_liars_;  // About any secret so far.
  std::set<uint32_t> liars_;
  std::map<std::vector<uint32_t>, SecretCombiner> combiners_;  // By their points.
};

}  // namespace fedtune
