// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "privacy/crypto/openssl_ptr.h"

namespace fedtune {

// A SHA-256 digest: the name of a file, a plan, a model by its content.
struct Digest {
  std::array<uint8_t, 32> bytes{};

  // Takes 64 hexadecimal digits, with or without "sha256:" before them.
  // INVALID_ARGUMENT: anything else.
  static absl::StatusOr<Digest> Parse(std::string_view text);

  // Takes the 32 bytes as they travel; `what` names them in the message.
  // INVALID_ARGUMENT: another number of bytes.
  static absl::StatusOr<Digest> FromBinary(std::string_view bytes, std::string_view what);

  // The 32 bytes as they travel.
  std::string ToBinary() const { return {bytes.begin(), bytes.end()}; }

  // 64 lower-case hexadecimal digits.
  std::string ToHex() const;

  // "sha256:" and the hexadecimal digits.
  std::string ToString() const;

  friend auto operator<=>(const Digest&, const Digest&) = default;

  template <typename H>
  friend H AbslHashValue(H hash, const Digest& digest) {
    return H::combine(std::move(hash), digest.bytes);
  }
};

// Hashes what comes in pieces.
//
//   Sha256 hash;
//   hash.Update(header).Update(body);
//   const Digest digest = std::move(hash).Finish();
//
// Movable; not thread-safe.
class Sha256 {
 public:
  Sha256();

  Sha256& Update(std::span<const std::byte> bytes);
  Sha256& Update(std::string_view bytes);

  // The digest of everything so far; consumes the hasher.
  Digest Finish() &&;

 private:
  OpensslPtr<EVP_MD_CTX> context_;
};

Digest Sha256Of(std::span<const std::byte> bytes);
Digest Sha256Of(std::string_view bytes);

// Reads the file piece by piece: memory does not grow with its size.
// NOT_FOUND, PERMISSION_DENIED, INTERNAL: as ReadFile() of base/files.h.
absl::StatusOr<Digest> Sha256OfFile(const std::filesystem::path& path);

}  // namespace fedtune
