// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/value_range.h"
#include "aggregation/value_source.h"
#include "coordinator/driver/contributions/block_sums.h"
#include "coordinator/driver/contributions/spooled_bytes.h"
#include "coordinator/driver/contributions/summed_bytes.h"
#include "coordinator/rounds/round_journal.h"
#include "coordinator/rounds/run_events.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// The values of one contribution, in the spool.
class SpooledValues final : public ValueSource {
 public:
  explicit SpooledValues(SummedBytes bytes) : bytes_(std::move(bytes)) {}

  // As SummedBytes::Read().
  absl::Status Read(int64_t first, std::span<float> values) const override {
    return bytes_.Read(static_cast<uint64_t>(first) * sizeof(float),
                       std::as_writable_bytes(values));
  }

  absl::Status Check() const { return bytes_.Check(); }

  SpooledBytes& bytes() { return bytes_.spooled(); }
  const BlockSums& sums() const { return bytes_.sums(); }

 private:
  SummedBytes bytes_;
};

// Values that came whole, and are those that the header promised.
struct VerifiedValues {
  std::shared_ptr<SpooledValues> values;
  ValueRange range;

  // What is to be known of them in another process; nothing where it reads them anyway.
  std::optional<SpooledContent> content() const {
    if (values->bytes().is_small()) return std::nullopt;
    return SpooledContent{.range = range, .sums = values->sums().sums()};
  }
};

// Gathers the chunks of one contribution. Nothing in them is believed: after an
// error the contribution is to be dropped. Not thread-safe.
class ContributionBuffer {
 public:
  // Goes on behind what `bytes` has received, as an earlier call left it. Requires
  // that Run::CheckContribution() has accepted the header, and that `bytes` has room
  // for what it promises. UNAVAILABLE: what was left cannot be read.
  static absl::StatusOr<ContributionBuffer> Create(const ContributionHeader& header,
                                                   SpooledBytes bytes);

  // What a process before this one has kept of a contribution. Where its content is
  // known, it is not read now: SpooledValues::Check() does.
  // DATA_LOSS: another size or digest than the header's. NOT_FOUND, INTERNAL.
  static absl::StatusOr<VerifiedValues> Restore(const ContributionHeader& header,
                                                const Spool& spool, std::string_view name,
                                                const std::optional<SpooledContent>& content,
                                                Spool::OpenFiles& open);

  // How many bytes have come: where the next chunk is to start. One that starts at
  // 0 is taken as well while nothing but what an earlier call left is there.
  uint64_t received() const { return received_; }

  // INVALID_ARGUMENT: a gap, or more bytes than the header said. UNAVAILABLE: the
  // disk does not take them.
  absl::Status Append(uint64_t offset, std::string_view bytes);

  // Whether as many bytes have come as the header said.
  bool complete() const { return received_ == bytes_.size(); }

  // When all have come. Consumes the buffer.
  // INVALID_ARGUMENT: too few bytes, or another digest than the header's.
  // UNAVAILABLE: the disk does not take them. ABORTED: what an earlier call left may not
  // be what it was; to be sent anew.
  absl::StatusOr<VerifiedValues> Finish() &&;

 private:
  ContributionBuffer(const ContributionHeader& header, SpooledBytes bytes);

  absl::Status ReadWhatWasLeft();
  absl::Status BeginAnew();
  absl::Status Flush();
  void Note(std::span<const float> values);

  Digest expected_;
  SpooledBytes bytes_;
  std::vector<float> block_;  // What is not in the spool yet.
  size_t block_bytes_ = 0;    // Of it filled.
  uint64_t received_ = 0;     // Bytes in all.
  ValueRange range_;          // Of what is in the spool.
  BlockSums sums_;            // Likewise.
  Sha256 hash_;
  uint64_t left_ = 0;  // By an earlier call.
};

}  // namespace fedtune
