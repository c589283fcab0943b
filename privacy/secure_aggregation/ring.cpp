// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/ring.h"

#include <cstring>

#include "base/check.h"

namespace fedtune {
namespace {

// Little-endian machines only, as everywhere in the project.
template <size_t kBytes>
void Pack(std::span<const uint32_t> values, uint8_t* packed) {
  for (const uint32_t value : values) {
    std::memcpy(packed, &value, kBytes);
    packed += kBytes;
  }
}

template <size_t kBytes>
void Add(const uint8_t* packed, std::span<uint32_t> sum) {
  constexpr uint32_t kMask = RingMask(static_cast<RingBits>(8 * kBytes));
  for (uint32_t& value : sum) {
    uint32_t element = 0;
    std::memcpy(&element, packed, kBytes);
    packed += kBytes;
    value = (value + element) & kMask;
  }
}

}  // namespace

void PackRing(RingBits ring, std::span<const uint32_t> values, std::span<uint8_t> packed) {
  Check(packed.size() == values.size() * BytesPerElement(ring), "packed elements fit their room");
  switch (ring) {
    case RingBits::k16:
      return Pack<2>(values, packed.data());
    case RingBits::k24:
      return Pack<3>(values, packed.data());
    case RingBits::k32:
      return Pack<4>(values, packed.data());
  }
}

void AddPacked(RingBits ring, std::span<const uint8_t> packed, std::span<uint32_t> sum) {
  Check(packed.size() == sum.size() * BytesPerElement(ring), "packed elements fit their sum");
  switch (ring) {
    case RingBits::k16:
      return Add<2>(packed.data(), sum);
    case RingBits::k24:
      return Add<3>(packed.data(), sum);
    case RingBits::k32:
      return Add<4>(packed.data(), sum);
  }
}

}  // namespace fedtune
