// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/driver/contributions/block_sums.h"
#include "coordinator/driver/contributions/spooled_bytes.h"
#include "coordinator/driver/contributions/summed_bytes.h"
#include "coordinator/rounds/round_journal.h"
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

// One client's masked vector, in the spool. Its elements are uniform and say nothing by
// themselves.
class MaskedElements {
 public:
  MaskedElements(RingBits ring, SummedBytes bytes) : ring_(ring), bytes_(std::move(bytes)) {}

  // Adds those from `first` on to `sum`, in the ring. Requires: there are as many.
  // Thread-safe. Errors as SummedBytes::Read(); the sum is of no use then.
  absl::Status AddTo(int64_t first, std::span<uint32_t> sum) const;

  absl::Status Check() const { return bytes_.Check(); }

  SpooledBytes& bytes() { return bytes_.spooled(); }

  // What is to be known of them in another process; nothing where it reads them anyway.
  std::optional<SpooledContent> content() const;

 private:
  RingBits ring_;
  SummedBytes bytes_;
};

// Gathers the chunks of one masked vector. Not thread-safe.
class MaskedInput {
 public:
  // Goes on behind what `bytes` has received, as an earlier call left it. Requires
  // that `bytes` has room for what the accepted header promises. UNAVAILABLE: what
  // was left cannot be read.
  static absl::StatusOr<MaskedInput> Create(RingBits ring, SpooledBytes bytes);

  // What a process before this one has kept of an input. Where its content is known, it is
  // not read now: MaskedElements::Check() does. DATA_LOSS: it has another size, or is not
  // what the header's manifest signs. NOT_FOUND, INTERNAL, INVALID_ARGUMENT.
  static absl::StatusOr<std::shared_ptr<MaskedElements>> Restore(
      const ContributionHeader& header, RingBits ring, const Spool& spool, std::string_view name,
      const std::optional<SpooledContent>& content, Spool::OpenFiles& open);

  // INVALID_ARGUMENT: a gap, or more bytes than the header said. UNAVAILABLE: the
  // disk does not take them.
  absl::Status Append(uint64_t offset, std::string_view bytes);

  // Where the next chunk is to start. One that starts at 0 is taken as well while
  // nothing but what an earlier call left is there.
  uint64_t received() const { return received_; }
  bool complete() const { return received_ == bytes_.size(); }

  // When all have come. Consumes the input.
  // INVALID_ARGUMENT: too few bytes, or chunks that do not have this Merkle root.
  // ABORTED: what an earlier call left may not be what it was; to be sent anew.
  absl::StatusOr<std::shared_ptr<MaskedElements>> Finish(const Digest& chunk_root) &&;

 private:
  MaskedInput(RingBits ring, SpooledBytes bytes)
      : ring_(ring), bytes_(std::move(bytes)), root_(ring) {}

  absl::Status ReadWhatWasLeft();
  void Note(std::string_view bytes);

  RingBits ring_;
  SpooledBytes bytes_;
  ChunkRoot root_;
  BlockSums sums_;
  uint64_t received_ = 0;
  uint64_t left_ = 0;  // By an earlier call.
};

}  // namespace fedtune
