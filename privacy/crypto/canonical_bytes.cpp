// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/canonical_bytes.h"

#include "base/check.h"
#include "fmt/format.h"

namespace fedtune {

CanonicalWriter& CanonicalWriter::Number(uint64_t value, int size) {
  for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) {
    bytes_.push_back(static_cast<uint8_t>(value >> shift));
  }
  return *this;
}

CanonicalWriter& CanonicalWriter::Fixed(ByteSpan bytes) {
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  return *this;
}

CanonicalWriter& CanonicalWriter::Sized(ByteSpan bytes) {
  Check(bytes.size() <= UINT32_MAX, "a part is longer than its length can say");
  return U32(static_cast<uint32_t>(bytes.size())).Fixed(bytes);
}

ByteSpan CanonicalReader::Part(size_t size) {
  if (failed_ || size > rest_.size()) {
    failed_ = true;
    return {};
  }
  const ByteSpan part = rest_.first(size);
  rest_ = rest_.subspan(size);
  return part;
}

uint64_t CanonicalReader::Number(int size) {
  uint64_t value = 0;
  for (const uint8_t byte : Part(static_cast<size_t>(size))) value = value << 8 | byte;
  return value;
}

Bytes CanonicalReader::Fixed(size_t size) {
  const ByteSpan part = Part(size);
  return {part.begin(), part.end()};
}

Digest CanonicalReader::ReadDigest() {
  Digest digest;
  const ByteSpan part = Part(digest.bytes.size());
  std::copy(part.begin(), part.end(), digest.bytes.begin());
  return digest;
}

Bytes CanonicalReader::Sized(size_t at_most) {
  const uint32_t size = U32();
  if (size > at_most) failed_ = true;
  return Fixed(failed_ ? 0 : size);
}

uint32_t CanonicalReader::Count(uint32_t at_most, size_t part_size) {
  const uint32_t count = U32();
  if (count > at_most || count > rest_.size() / part_size) failed_ = true;
  return failed_ ? 0 : count;
}

absl::Status CanonicalReader::Finish(std::string_view what) const {
  if (failed_) {
    return absl::InvalidArgumentError(
        fmt::format("{} is cut short or has a part that is too long", what));
  }
  if (!rest_.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{} has {} bytes after its end", what, rest_.size()));
  }
  return absl::OkStatus();
}

}  // namespace fedtune
