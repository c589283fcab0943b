// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/crypto/secret_bytes.h"

namespace fedtune {

inline constexpr size_t kAeadKeySize = 32;
inline constexpr size_t kAeadTagSize = 16;
using AeadNonce = std::array<uint8_t, 12>;

// AES-256-GCM. What is sealed is as long as the plaintext and kAeadTagSize more;
// `associated` is not in it, but it opens only with the same. A nonce must never
// be used twice with one key. Thread-safe.
//
// Requires: the key has kAeadKeySize bytes.
std::vector<uint8_t> Seal(const SecretBytes& key, const AeadNonce& nonce,
                          std::span<const uint8_t> associated, std::span<const uint8_t> plaintext);

// UNAUTHENTICATED: not sealed with this key, nonce and associated data, or
// changed since.
absl::StatusOr<SecretBytes> Open(const SecretBytes& key, const AeadNonce& nonce,
                                 std::span<const uint8_t> associated,
                                 std::span<const uint8_t> sealed);

// The same with the nonce zero, for keys that seal one message in their life.
std::vector<uint8_t> SealOnce(const SecretBytes& key, std::span<const uint8_t> associated,
                              std::span<const uint8_t> plaintext);
absl::StatusOr<SecretBytes> OpenOnce(const SecretBytes& key, std::span<const uint8_t> associated,
                                     std::span<const uint8_t> sealed);

}  // namespace fedtune
