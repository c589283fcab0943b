// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/agreement_key.h"

#include <openssl/evp.h>

#include <string_view>

#include "base/check.h"
#include "base/status_macros.h"
#include "privacy/crypto/hkdf.h"
#include "privacy/crypto/key_agreement.h"
#include "privacy/crypto/p256.h"

namespace fedtune {
namespace {

constexpr size_t kX25519Size = 32;
// 128 bits more than the order has: the scalar's bias is below 2^-128.
constexpr size_t kStretchedSize = 48;
constexpr std::string_view kStretch = "ffl/v1/p256";

OpensslPtr<EVP_PKEY> X25519Key(const SecretBytes& seed) {
  OpensslPtr<EVP_PKEY> key(
      EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, seed.Reveal().data(), seed.size()));
  Check(key != nullptr, "OpenSSL offers X25519");
  return key;
}

std::vector<uint8_t> X25519PublicBytes(const EVP_PKEY* key) {
  std::vector<uint8_t> bytes(kX25519Size);
  size_t size = bytes.size();
  Check(EVP_PKEY_get_raw_public_key(key, bytes.data(), &size) == 1 && size == bytes.size(),
        "an X25519 public key has 32 bytes");
  return bytes;
}

absl::StatusOr<OpensslPtr<EVP_PKEY>> X25519PublicKey(std::span<const uint8_t> bytes) {
  if (bytes.size() != kX25519Size) {
    return absl::InvalidArgumentError("this is no X25519 public key of 32 bytes");
  }
  OpensslPtr<EVP_PKEY> key(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, bytes.data(), bytes.size()));
  Check(key != nullptr, "OpenSSL takes X25519 public keys");
  return key;
}

}  // namespace

AgreementKey AgreementKey::FromSeed(CipherSuite suite, const SecretBytes& seed) {
  Check(seed.size() == kAgreementSeedSize, "a key's seed has 32 bytes");
  if (suite == CipherSuite::kCurve25519) {
    OpensslPtr<EVP_PKEY> key = X25519Key(seed);
    std::vector<uint8_t> public_key = X25519PublicBytes(key.get());
    return {suite, std::move(key), std::move(public_key)};
  }
  const std::span info(reinterpret_cast<const uint8_t*>(kStretch.data()), kStretch.size());
  OpensslPtr<EVP_PKEY> key =
      P256KeyFromStretched(HkdfSha256(seed.Reveal(), {}, info, kStretchedSize));
  std::vector<uint8_t> public_key = P256Point(key.get());
  return {suite, std::move(key), std::move(public_key)};
}

AgreementKey AgreementKey::FromP256Scalar(const SecretBytes& scalar) {
  OpensslPtr<EVP_PKEY> key = P256KeyFromScalar(scalar);
  std::vector<uint8_t> public_key = P256Point(key.get());
  return {CipherSuite::kNistP256, std::move(key), std::move(public_key)};
}

absl::StatusOr<SecretBytes> AgreementKey::Agree(std::span<const uint8_t> other_public_key) const {
  ASSIGN_OR_RETURN(const OpensslPtr<EVP_PKEY> other, suite_ == CipherSuite::kCurve25519
                                                         ? X25519PublicKey(other_public_key)
                                                         : P256PublicKey(other_public_key));
  return DeriveShared(key_.get(), other.get());
}

}  // namespace fedtune
