// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace fedtune {

// How much of what the coordinator has said is not done with yet, as it waits to be looked
// at, or for a thread that is busy: whoever says more and more is not to fill this
// machine's memory. Thread-safe.
class Intake {
 public:
  // Of one message; what it takes is free again when its last copy goes, also after the
  // intake's end.
  using Share = std::shared_ptr<const void>;

  explicit Intake(size_t most_bytes) : most_bytes_(most_bytes) {}

  // RESOURCE_EXHAUSTED: with this one it would be too much.
  absl::StatusOr<Share> Admit(size_t bytes) {
    const size_t before = waiting_->fetch_add(bytes);
    Share share(waiting_.get(),
                [waiting = waiting_, bytes](const void*) { waiting->fetch_sub(bytes); });
    if (before + bytes <= most_bytes_) return share;
    return absl::ResourceExhaustedError(
        "the coordinator says more than this client can come to; the session is ended, and what "
        "was not heard is asked again with the next one");
  }

 private:
  const size_t most_bytes_;
  const std::shared_ptr<std::atomic<size_t>> waiting_ = std::make_shared<std::atomic<size_t>>(0);
};

}  // namespace fedtune
