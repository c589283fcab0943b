// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fedtune {

// The integers modulo 2^16, 2^24 or 2^32, in which masked vectors are added. In
// memory an element is a uint32_t whose high bits are zero; on the wire it has
// 2, 3 or 4 bytes, little-endian.
enum class RingBits : uint8_t { k16 = 16, k24 = 24, k32 = 32 };

// A masked vector travels in chunks of as many elements; the last may have fewer.
inline constexpr int64_t kChunkElements = int64_t{1} << 20;

constexpr size_t BytesPerElement(RingBits ring) { return static_cast<size_t>(ring) / 8; }

constexpr uint32_t RingMask(RingBits ring) {
  return static_cast<uint32_t>((uint64_t{1} << static_cast<int>(ring)) - 1);
}

// Writes elements as they travel. Requires: `packed` has BytesPerElement() for
// each value.
void PackRing(RingBits ring, std::span<const uint32_t> values, std::span<uint8_t> packed);

// sum[i] += element i of `packed`, in the ring. Requires: as PackRing().
void AddPacked(RingBits ring, std::span<const uint8_t> packed, std::span<uint32_t> sum);

}  // namespace fedtune
