// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_ptr.h"

namespace fedtune {

// The private key, of any kind, in `pem`. Never asks for a passphrase.
// INVALID_ARGUMENT: there is none, or it is protected, or `pem` is too long for one.
absl::StatusOr<OpensslPtr<EVP_PKEY>> ReadPrivateKeyPem(std::string_view pem);

}  // namespace fedtune
