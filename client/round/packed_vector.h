// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "aggregation/masked_vector.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/mask_stream.h"
#include "privacy/secure_aggregation/ring.h"

namespace fedtune {

// A client's vector as it travels, made and masked chunk by chunk (ring.h) on
// several threads. There is never more of it in memory than itself and a chunk for
// each thread. Not thread-safe.
class PackedVector {
 public:
  // The elements of `vector`, not masked. Errors: as MaskedVector::Read().
  static absl::StatusOr<PackedVector> Create(const MaskedVector& vector, RingBits ring,
                                             int threads);

  // The Merkle root over the chunks as they are now.
  Digest Root() const;

  // Adds the masks. Requires: they are of the same ring; call it once.
  void Mask(const MaskStreams& masks);

  Bytes Take() && { return std::move(packed_); }

 private:
  PackedVector(RingBits ring, int64_t elements, int threads);

  int64_t chunk_count() const;
  std::span<uint8_t> Chunk(int64_t index);
  ByteSpan Chunk(int64_t index) const;

  RingBits ring_;
  int threads_;
  Bytes packed_;
};

}  // namespace fedtune
