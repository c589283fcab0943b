// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/driver/spooled_bytes.h"
#include "coordinator/rounds/run_events.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/ring.h"

namespace fedtune {

// The Merkle root over the chunks of a masked vector, as its bytes pass by.
class ChunkRoot {
 public:
  explicit ChunkRoot(RingBits ring) : chunk_size_(kChunkElements * BytesPerElement(ring)) {}

  void Update(std::string_view bytes);

  // Of everything so far.
  Digest Finish();

 private:
  void EndChunk();

  uint64_t chunk_size_;
  std::optional<Sha256> chunk_;  // The one that is coming.
  uint64_t chunk_received_ = 0;
  std::vector<Digest> chunks_;
};

// One client's masked vector on its way into the sum. Its bytes are uniform and
// say nothing by themselves. Not thread-safe.
class MaskedInput {
 public:
  // Goes on behind what `bytes` has received, as an earlier call left it. Requires
  // that `bytes` has room for what the accepted header promises. UNAVAILABLE: what
  // was left cannot be read.
  static absl::StatusOr<MaskedInput> Create(RingBits ring, SpooledBytes bytes);

  // What a process before this one has kept of an input; it is to be checked before it
  // is added. DATA_LOSS: it has another size. NOT_FOUND, INTERNAL, INVALID_ARGUMENT.
  static absl::StatusOr<MaskedInput> Restore(const ContributionHeader& header, RingBits ring,
                                             const Spool& spool, std::string_view name);

  // Reads all of it. DATA_LOSS: not the bytes that the header's manifest signs. INTERNAL.
  // Thread-safe, as AddTo().
  absl::Status Check(const ContributionHeader& header) const;

  // INVALID_ARGUMENT: a gap, or more bytes than the header said. UNAVAILABLE: the
  // disk does not take them.
  absl::Status Append(uint64_t offset, std::string_view bytes);

  // Where the next chunk is to start. One that starts at 0 is taken as well while
  // nothing but what an earlier call left is there.
  uint64_t received() const { return received_; }
  bool complete() const { return received_ == bytes_.size(); }

  // When all have come.
  // INVALID_ARGUMENT: too few bytes, or chunks that do not have this Merkle root.
  // UNAVAILABLE: what an earlier call left is not what it was; to be sent anew.
  absl::Status Finish(const Digest& chunk_root);

  // Adds all elements to `sum`, in the ring. Requires: Finish() was content, and
  // as many elements.
  absl::Status AddTo(std::span<uint32_t> sum) const;

  SpooledBytes& bytes() { return bytes_; }

 private:
  MaskedInput(RingBits ring, SpooledBytes bytes)
      : ring_(ring), bytes_(std::move(bytes)), root_(ring) {}

  absl::Status ReadWhatWasLeft();

  RingBits ring_;
  SpooledBytes bytes_;
  ChunkRoot root_;
  uint64_t received_ = 0;
  uint64_t left_ = 0;  // By an earlier call.
};

}  // namespace fedtune
