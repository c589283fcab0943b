// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_ptr.h"
#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

// The 32 bytes of X25519, or the x of ECDH on P-256, for the other files of this
// folder.
// INVALID_ARGUMENT: the keys give no secret.
absl::StatusOr<SecretBytes> DeriveShared(EVP_PKEY* key, EVP_PKEY* peer);

}  // namespace fedtune
