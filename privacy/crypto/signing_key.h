// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/cipher_suite.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

// An institution's long-lived key for what it says in rounds: Ed25519, or ECDSA
// with SHA-256 on P-256. It is another key than that of its TLS connections.
// Movable; safe to use from several threads.
class SigningKey {
 public:
  static SigningKey Generate(CipherSuite suite);

  // INVALID_ARGUMENT: no private key in PEM, another kind of key, or one that a
  // passphrase protects.
  static absl::StatusOr<SigningKey> ParsePem(std::string_view pem);

  // PKCS #8.
  SecretBytes ToPem() const;

  CipherSuite suite() const { return suite_; }

  // 32 bytes; on P-256 65, the point uncompressed.
  const std::vector<uint8_t>& public_key() const { return public_key_; }

  // 64 bytes in both suites: an Ed25519 signature, or r and s. The same message
  // gives the same Ed25519 signature, but not the same ECDSA one.
  std::vector<uint8_t> Sign(std::span<const uint8_t> message) const;

  // For certificate requests.
  EVP_PKEY* get() const { return key_.get(); }

 private:
  SigningKey(CipherSuite suite, OpensslPtr<EVP_PKEY> key);

  CipherSuite suite_;
  OpensslPtr<EVP_PKEY> key_;
  std::vector<uint8_t> public_key_;
};

// Whether the key that belongs to `public_key` has signed `message`.
// UNAUTHENTICATED: it has not, or one of the three is malformed.
absl::Status VerifySignature(CipherSuite suite, std::span<const uint8_t> public_key,
                             std::span<const uint8_t> message, std::span<const uint8_t> signature);

}  // namespace fedtune
