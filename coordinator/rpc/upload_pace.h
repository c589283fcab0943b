// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace fedtune {

// Whether an upload comes fast enough to be waited for: in each half minute in which
// the coordinator waits for its client, half a MiB. The time in which it works on what
// has come counts for nobody. All times are on Clock::Monotonic(). Not thread-safe.
class UploadPace {
 public:
  static constexpr absl::Duration kWindow = absl::Seconds(30);
  static constexpr uint64_t kLeastBytes = uint64_t{512} << 10;

  // More is to come.
  void Waits(absl::Duration now) { waiting_since_ = now; }

  // It has come.
  void Came(absl::Duration now, uint64_t bytes) {
    waited_ += Pending(now);
    waiting_since_.reset();
    bytes_ += bytes;
  }

  // When to look again; nothing if it is too slow.
  std::optional<absl::Duration> Look(absl::Duration now) {
    const absl::Duration waited = waited_ + Pending(now);
    if (waited < kWindow) return now + kWindow - waited;
    if (bytes_ < kLeastBytes) return std::nullopt;
    bytes_ = 0;
    waited_ = absl::ZeroDuration();
    if (waiting_since_.has_value()) waiting_since_ = now;
    return now + kWindow;
  }

 private:
  absl::Duration Pending(absl::Duration now) const {
    return waiting_since_.has_value() ? now - *waiting_since_ : absl::ZeroDuration();
  }

  uint64_t bytes_ = 0;
  absl::Duration waited_;
  std::optional<absl::Duration> waiting_since_;
};

}  // namespace fedtune
