// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/value_range.h"
#include "aggregation/value_source.h"
#include "coordinator/rounds/run_events.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// Values that came whole, and are those that the header promised.
struct VerifiedValues {
  std::shared_ptr<const ValueSource> values;
  ValueRange range;
};

// Gathers the chunks of one contribution: up to 4 MiB in memory, more in a file
// without a name, so that memory does not grow with the number of uploads.
// Nothing in them is believed: after an error the contribution is to be dropped.
// Not thread-safe.
class ContributionBuffer {
 public:
  // Files go into `directory`. Requires that Run::CheckContribution() has
  // accepted the header.
  //
  // UNAVAILABLE: there is no space on the disk now.
  static absl::StatusOr<ContributionBuffer> Create(const ContributionHeader& header,
                                                   const std::filesystem::path& directory);

  // INVALID_ARGUMENT: a gap, or more bytes than the header said. UNAVAILABLE: the
  // disk does not take them.
  absl::Status Append(uint64_t offset, std::string_view bytes);

  // Whether as many bytes have come as the header said.
  bool complete() const { return received_ == size_; }

  // When all have come. Consumes the buffer.
  // INVALID_ARGUMENT: too few bytes, or another digest than the header's.
  // UNAVAILABLE: the disk does not take them.
  absl::StatusOr<VerifiedValues> Finish() &&;

 private:
  class Store;

  ContributionBuffer(const ContributionHeader& header, std::shared_ptr<Store> store);

  absl::Status Flush();

  Digest expected_;
  uint64_t size_;
  std::shared_ptr<Store> store_;
  std::vector<float> block_;  // What is not in the store yet.
  size_t block_bytes_ = 0;    // Of it filled.
  uint64_t received_ = 0;     // Bytes in all.
  ValueRange range_;          // Of what is in the store.
  Sha256 hash_;
};

}  // namespace fedtune
