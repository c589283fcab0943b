// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

// HKDF with SHA-256 (RFC 5869): `size` bytes, at most 8160, that only who knows
// `secret` can tell from random ones. Other uses of a secret take other `info`.
// Thread-safe.
SecretBytes HkdfSha256(std::span<const uint8_t> secret, std::span<const uint8_t> salt,
                       std::span<const uint8_t> info, size_t size);

}  // namespace fedtune
