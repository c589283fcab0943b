// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

namespace fedtune {

// An ECDSA signature on P-256 is two numbers of 32 bytes, r and s. Here they stand one
// behind the other; OpenSSL and most formats of others have them in ASN.1 DER.

inline constexpr size_t kP256SignatureSize = 64;

// Requires: kP256SignatureSize bytes.
std::vector<uint8_t> EcdsaToDer(std::span<const uint8_t> numbers);

// INVALID_ARGUMENT: anything that EcdsaToDer() would not write.
absl::StatusOr<std::vector<uint8_t>> EcdsaFromDer(std::span<const uint8_t> der);

}  // namespace fedtune
