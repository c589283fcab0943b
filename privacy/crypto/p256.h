// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

// P-256 keys as OpenSSL 3 wants them, made from and into plain bytes. A public
// key is a point, uncompressed. All that is computed on the curve is computed
// behind EVP, so that it is done by the FIPS provider where one is in force.
inline constexpr size_t kP256PublicKeySize = 65;

// The key whose private scalar is `stretched` mod (n - 1) + 1.
OpensslPtr<EVP_PKEY> P256KeyFromStretched(const SecretBytes& stretched);

// The key of a private scalar, big-endian. Requires: it is in [1, n - 1].
OpensslPtr<EVP_PKEY> P256KeyFromScalar(const SecretBytes& scalar);

// INVALID_ARGUMENT: another size, or no point of the curve.
absl::StatusOr<OpensslPtr<EVP_PKEY>> P256PublicKey(std::span<const uint8_t> point);

// That a P-256 key pair which OpenSSL has read is one: it reads scalars of any
// size, and any public key beside them. INVALID_ARGUMENT: it is none.
absl::Status CheckP256Pair(EVP_PKEY* key);

// Requires: a P-256 key.
std::vector<uint8_t> P256Point(const EVP_PKEY* key);

}  // namespace fedtune
