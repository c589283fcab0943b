// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <string_view>

#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_ptr.h"

namespace fedtune {

// Far more than any key, request or chain of ours.
inline constexpr size_t kLongestPem = 64 * 1024;

// The private key, of any kind, in `pem`. Never asks for a passphrase.
// INVALID_ARGUMENT: there is none, or it is protected, or `pem` is longer than kLongestPem.
absl::StatusOr<OpensslPtr<EVP_PKEY>> ReadPrivateKeyPem(std::string_view pem);

}  // namespace fedtune
