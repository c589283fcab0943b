// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <openssl/types.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/cipher_suite.h"
#include "privacy/crypto/sha256.h"
#include "privacy/identity/identity.h"

namespace fedtune {

// INVALID_ARGUMENT: `key` is null or not on P-256, the curve of TLS here.
absl::Status CheckIsP256(const EVP_PKEY* key);

// INVALID_ARGUMENT: `key` is not on P-256 nor, for a signer, an Ed25519 key.
absl::Status CheckKeyKind(Role role, const EVP_PKEY* key);

// The SHA-256 of the public half (SubjectPublicKeyInfo), by which people compare
// keys over the telephone. Requires: CheckKeyKind() finds nothing wrong.
Digest KeyFingerprint(const EVP_PKEY* key);

// A key as VerifySignature() takes it.
struct VerifyingKey {
  CipherSuite suite = CipherSuite::kCurve25519;
  std::vector<uint8_t> bytes;

  friend bool operator==(const VerifyingKey&, const VerifyingKey&) = default;
};

// The same of a key that ReadVerifyingKey() or ParseRoster() has found good.
Digest KeyFingerprint(const VerifyingKey& key);

// The key of the first certificate in `pem`, about which nothing is verified.
// INVALID_ARGUMENT: no certificate, or another kind of key.
absl::StatusOr<VerifyingKey> ReadVerifyingKey(std::string_view pem);

}  // namespace fedtune
