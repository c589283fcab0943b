// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

using Bytes = std::vector<uint8_t>;
using ByteSpan = std::span<const uint8_t>;

inline ByteSpan SpanOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

inline Digest Sha256Of(ByteSpan bytes) { return Sha256Of(std::as_bytes(bytes)); }

// Writes the one encoding of a message that is hashed, signed or sent: numbers
// big-endian, parts of varying size with their length before them, so that no
// two messages have the same bytes. Not thread-safe.
class CanonicalWriter {
 public:
  CanonicalWriter& U8(uint8_t value) { return Number(value, 1); }
  CanonicalWriter& U32(uint32_t value) { return Number(value, 4); }
  CanonicalWriter& U64(uint64_t value) { return Number(value, 8); }

  // Parts whose size the reader knows.
  CanonicalWriter& Fixed(ByteSpan bytes);
  CanonicalWriter& Fixed(const Digest& digest) { return Fixed(digest.bytes); }

  // A U32 length, then the bytes.
  CanonicalWriter& Sized(ByteSpan bytes);
  CanonicalWriter& Sized(std::string_view text) { return Sized(SpanOf(text)); }

  const Bytes& bytes() const { return bytes_; }
  Bytes Take() && { return std::move(bytes_); }

 private:
  CanonicalWriter& Number(uint64_t value, int size);

  Bytes bytes_;
};

// Reads what CanonicalWriter wrote, from anyone. After the first error every
// read gives zeros, so that a message is read to its end and then judged once:
//
//   CanonicalReader reader(bytes);
//   message.number = reader.U32();
//   message.key = reader.Sized(kMaxKeySize);
//   RETURN_IF_ERROR(reader.Finish("key"));
//
// Not thread-safe; the bytes must outlive it.
class CanonicalReader {
 public:
  explicit CanonicalReader(ByteSpan bytes) : rest_(bytes) {}

  uint8_t U8() { return static_cast<uint8_t>(Number(1)); }
  uint32_t U32() { return static_cast<uint32_t>(Number(4)); }
  uint64_t U64() { return Number(8); }
  Bytes Fixed(size_t size);
  Digest ReadDigest();
  Bytes Sized(size_t at_most);

  // A count of parts that take at least `part_size` bytes each: what is left
  // must be able to hold them, so that nobody makes us allocate for more.
  uint32_t Count(uint32_t at_most, size_t part_size);

  // INVALID_ARGUMENT: `what` ended early, has a part that is too long, or bytes
  // after its end.
  absl::Status Finish(std::string_view what) const;

 private:
  uint64_t Number(int size);
  ByteSpan Part(size_t size);

  ByteSpan rest_;
  bool failed_ = false;
};

}  // namespace fedtune
