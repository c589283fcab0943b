// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/cipher_suite.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

inline constexpr size_t kAgreementSeedSize = 32;

// A key pair for Diffie-Hellman: X25519 (RFC 7748), or ECDH on P-256 (SP
// 800-56A). Movable; safe to use from several threads.
class AgreementKey {
 public:
  // The pair that a seed of 32 bytes stands for, always the same one. For X25519
  // the seed is the private key; for P-256 it is stretched, so that the scalar is
  // uniform.
  static AgreementKey FromSeed(CipherSuite suite, const SecretBytes& seed);

  // The pair of a P-256 private key that was made elsewhere, as in test vectors.
  // Requires: the scalar, big-endian, is in [1, n - 1].
  static AgreementKey FromP256Scalar(const SecretBytes& scalar);

  // 32 bytes; on P-256 65, the point uncompressed.
  const std::vector<uint8_t>& public_key() const { return public_key_; }

  // What both ends of a pair of keys agree on, 32 bytes: to be used through HKDF
  // only.
  //
  // INVALID_ARGUMENT: the other key has the wrong size, is not on the curve, or
  // forces an X25519 result of zeros.
  absl::StatusOr<SecretBytes> Agree(std::span<const uint8_t> other_public_key) const;

 private:
  AgreementKey(CipherSuite suite, OpensslPtr<EVP_PKEY> key, std::vector<uint8_t> public_key)
      : suite_(suite), key_(std::move(key)), public_key_(std::move(public_key)) {}

  CipherSuite suite_;
  OpensslPtr<EVP_PKEY> key_;
  std::vector<uint8_t> public_key_;
};

}  // namespace fedtune
