// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/files.h"
#include "coordinator/rounds/run_events.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/ring.h"

namespace fedtune {

// One client's masked vector on its way into the sum: up to 4 MiB in memory, more
// in a file without a name. Its bytes are uniform and say nothing by themselves.
// Not thread-safe.
class MaskedInput {
 public:
  // Requires that Run::CheckContribution() has accepted the header.
  // UNAVAILABLE: there is no space on the disk now.
  static absl::StatusOr<MaskedInput> Create(const ContributionHeader& header, RingBits ring,
                                            const std::filesystem::path& directory);

  // INVALID_ARGUMENT: a gap, or more bytes than the header said. UNAVAILABLE: the
  // disk does not take them.
  absl::Status Append(uint64_t offset, std::string_view bytes);

  bool complete() const { return received_ == size_; }

  // When all have come.
  // INVALID_ARGUMENT: too few bytes, another digest than the header's, or chunks
  // that do not have this Merkle root.
  absl::Status Finish(const Digest& chunk_root);

  // Adds all elements to `sum`, in the ring. Requires: Finish() was content, and
  // as many elements.
  absl::Status AddTo(std::span<uint32_t> sum) const;

 private:
  MaskedInput(const ContributionHeader& header, RingBits ring, std::optional<NamelessFile> file);

  void EndChunk();

  Digest expected_;
  uint64_t size_;
  RingBits ring_;
  std::optional<NamelessFile> file_;
  std::vector<uint8_t> memory_;
  uint64_t received_ = 0;
  Sha256 whole_;
  std::optional<Sha256> chunk_;  // Of the chunk that is coming.
  uint64_t chunk_received_ = 0;
  std::vector<Digest> chunks_;
};

}  // namespace fedtune
