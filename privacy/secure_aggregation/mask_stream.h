// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "privacy/crypto/secret_bytes.h"
#include "privacy/secure_aggregation/ring.h"

namespace fedtune {

enum class MaskSign : uint8_t { kAdd, kSubtract };

// Masks of one client, or those that a sum still carries. The stream of a key is
// AES-256-CTR from counter 0, read as little-endian elements of the ring.
// Movable.
class MaskStreams {
 public:
  explicit MaskStreams(RingBits ring) : ring_(ring) {}

  // Requires: the key has 32 bytes.
  void Add(const SecretBytes& key, MaskSign sign);

  // Adds to values[i], or subtracts, element first + i of every stream. Requires:
  // `first` is a multiple of 16. Thread-safe.
  void Apply(int64_t first, std::span<uint32_t> values) const;

  int64_t count() const { return std::ssize(streams_); }
  RingBits ring() const { return ring_; }

 private:
  struct Stream {
    SecretBytes key;
    MaskSign sign;
  };

  RingBits ring_;
  std::vector<Stream> streams_;
};

}  // namespace fedtune
