// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/rounds/run_events.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// Gathers the chunks of one contribution. Nothing in them is believed: after an
// error the contribution is to be dropped. Not thread-safe.
class ContributionBuffer {
 public:
  // Takes `header.size_bytes` of memory: requires that Run::CheckContribution()
  // has accepted the header.
  explicit ContributionBuffer(const ContributionHeader& header);

  // INVALID_ARGUMENT: a gap, or more bytes than the header said.
  absl::Status Append(uint64_t offset, std::string_view bytes);

  // The values, when all have come; valid as long as the buffer.
  // INVALID_ARGUMENT: too few bytes, or another digest than the header's.
  absl::StatusOr<std::span<const float>> Finish();

 private:
  const Digest expected_;
  std::vector<float> values_;
  uint64_t received_ = 0;  // In bytes.
  Sha256 hash_;
};

}  // namespace fedtune
