// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <openssl/types.h>

#include "absl/status/status.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// INVALID_ARGUMENT: `key` is null or not on P-256, the one curve in use.
absl::Status CheckIsP256(const EVP_PKEY* key);

// The SHA-256 of the public half (SubjectPublicKeyInfo), by which people compare
// keys over the telephone. Requires: CheckIsP256() finds nothing wrong.
Digest KeyFingerprint(const EVP_PKEY* key);

}  // namespace fedtune
