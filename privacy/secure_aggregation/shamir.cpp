// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/shamir.h"

#include <openssl/crypto.h>

#include <cstring>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "base/check.h"
#include "fmt/format.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/secure_aggregation/field_61.h"

namespace fedtune {
namespace {

constexpr int kLimbBits = 52;
constexpr uint64_t kLimbMask = (uint64_t{1} << kLimbBits) - 1;
constexpr int kSecretBits = 8 * kSharedSecretSize;
constexpr uint64_t kLastLimbMask = (uint64_t{1} << (kSecretBits - 4 * kLimbBits)) - 1;

using Limbs = std::array<uint64_t, kShareLimbs>;

Limbs LimbsOf(const SecretBytes& secret) {
  const std::span<const uint8_t> bytes = secret.Reveal();
  Limbs limbs = {};
  for (size_t bit = 0; bit < kSecretBits; bit += 4) {
    const uint64_t nibble = bytes[bit / 8] >> bit % 8 & 0xf;
    limbs[bit / kLimbBits] |= nibble << bit % kLimbBits;
  }
  return limbs;
}

SecretBytes SecretOf(const Limbs& limbs) {
  std::vector<uint8_t> bytes(kSharedSecretSize);
  for (size_t bit = 0; bit < kSecretBits; bit += 4) {
    const uint64_t nibble = limbs[bit / kLimbBits] >> bit % kLimbBits & 0xf;
    bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] | nibble << bit % 8);
  }
  return SecretBytes(std::move(bytes));
}

// Numbers below the prime, uniform, that follow from a seed: 61 bits of HKDF's
// output at a time; the one value too large is passed over.
class Coefficients {
 public:
  explicit Coefficients(const SecretBytes& seed) : seed_(seed), block_({}) {}

  uint64_t Next() {
    while (true) {
      if (used_ == block_.size()) Refill();
      uint64_t value = 0;
      std::memcpy(&value, block_.Reveal().data() + used_, sizeof(value));
      used_ += sizeof(value);
      value &= kField61;
      if (value != kField61) return value;
    }
  }

 private:
  static constexpr size_t kBlockSize = 8160;  // The most that one HKDF gives.

  void Refill() {
    static constexpr std::string_view kLabel = "ffl/v1/shamir";
    std::vector<uint8_t> info(kLabel.begin(), kLabel.end());
    for (int shift = 24; shift >= 0; shift -= 8) {
      info.push_back(static_cast<uint8_t>(counter_ >> shift));
    }
    ++counter_;
    block_ = HkdfSha256(seed_.Reveal(), {}, info, kBlockSize);
    used_ = 0;
  }

  const SecretBytes& seed_;
  SecretBytes block_;
  size_t used_ = 0;
  uint32_t counter_ = 0;
};

// Of the polynomial with these coefficients, the constant one first.
uint64_t ValueAt(std::span<const uint64_t> polynomial, uint64_t point) {
  uint64_t value = 0;
  for (size_t power = polynomial.size(); power-- > 0;) {
    value = Add61(Multiply61(value, point), polynomial[power]);
  }
  return value;
}

void WriteLimb(std::vector<uint8_t>& share, size_t limb, uint64_t value) {
  std::memcpy(share.data() + 8 * limb, &value, sizeof(value));
}

}  // namespace

std::vector<SecretBytes> SplitSecretWith(
    const SecretBytes& secret, int threshold, int count,
    const std::function<uint64_t(size_t limb, int power)>& coefficient) {
  Check(secret.size() == kSharedSecretSize && threshold >= 1 && threshold <= count,
        "a secret of 32 bytes is split for at least as many as the threshold");
  Limbs limbs = LimbsOf(secret);
  std::vector<std::vector<uint8_t>> shares(static_cast<size_t>(count),
                                           std::vector<uint8_t>(kShareSize));
  std::vector<uint64_t> polynomial(static_cast<size_t>(threshold));
  for (size_t limb = 0; limb < kShareLimbs; ++limb) {
    polynomial[0] = limbs[limb];
    for (int power = 1; power < threshold; ++power) {
      polynomial[static_cast<size_t>(power)] = coefficient(limb, power);
    }
    for (int point = 1; point <= count; ++point) {
      WriteLimb(shares[static_cast<size_t>(point - 1)], limb,
                ValueAt(polynomial, static_cast<uint64_t>(point)));
    }
  }
  OPENSSL_cleanse(polynomial.data(), polynomial.size() * sizeof(uint64_t));
  OPENSSL_cleanse(limbs.data(), sizeof(limbs));
  std::vector<SecretBytes> secrets;
  secrets.reserve(shares.size());
  for (std::vector<uint8_t>& share : shares) secrets.emplace_back(std::move(share));
  return secrets;
}

std::vector<SecretBytes> SplitSecret(const SecretBytes& secret, int threshold, int count,
                                     const SecretBytes& seed) {
  Coefficients coefficients(seed);
  return SplitSecretWith(secret, threshold, count,
                         [&coefficients](size_t, int) { return coefficients.Next(); });
}

absl::StatusOr<SecretCombiner> SecretCombiner::Create(const std::vector<uint32_t>& points) {
  if (points.empty()) return absl::InvalidArgumentError("a secret is not rebuilt from no shares");
  std::vector<uint64_t> weights;
  for (const uint32_t& at : points) {
    uint64_t numerator = 1;
    uint64_t denominator = 1;
    for (const uint32_t& other : points) {
      if (&other == &at) continue;
      numerator = Multiply61(numerator, other);
      denominator = Multiply61(denominator, Subtract61(other, at));
    }
    if (at == 0 || denominator == 0) {
      return absl::InvalidArgumentError("the points of shares are different and not zero");
    }
    weights.push_back(Multiply61(numerator, Inverse61(denominator)));
  }
  return SecretCombiner(std::move(weights));
}

absl::StatusOr<SecretBytes> SecretCombiner::Combine(
    std::span<const SecretBytes* const> shares) const {
  if (shares.size() != weights_.size()) {
    return absl::InvalidArgumentError(
        fmt::format("{} shares for {} points", shares.size(), weights_.size()));
  }
  Limbs limbs = {};
  for (size_t i = 0; i < shares.size(); ++i) {
    if (shares[i]->size() != kShareSize) {
      return absl::InvalidArgumentError("a share has another size than 40 bytes");
    }
    for (size_t limb = 0; limb < kShareLimbs; ++limb) {
      uint64_t value = 0;
      std::memcpy(&value, shares[i]->Reveal().data() + 8 * limb, sizeof(value));
      if (value >= kField61) return absl::InvalidArgumentError("a share is out of its field");
      limbs[limb] = Add61(limbs[limb], Multiply61(value, weights_[i]));
    }
  }
  for (size_t limb = 0; limb < kShareLimbs; ++limb) {
    if (limbs[limb] > (limb + 1 == kShareLimbs ? kLastLimbMask : kLimbMask)) {
      return absl::InvalidArgumentError("the shares do not give a secret of 32 bytes");
    }
  }
  SecretBytes secret = SecretOf(limbs);
  OPENSSL_cleanse(limbs.data(), sizeof(limbs));
  return secret;
}

}  // namespace fedtune
