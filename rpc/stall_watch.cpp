// SPDX-License-Identifier: Apache-2.0

#include "rpc/stall_watch.h"

#include <stop_token>

namespace fedtune {

StallWatch::StallWatch(grpc::ClientContext& call, absl::Duration longest)
    : call_(call),
      longest_(longest),
      thread_([this](const std::stop_token& stop) { Watch(stop); }) {}

void StallWatch::Progress() {
  const std::lock_guard lock(mutex_);
  progress_ = true;
  progressed_.notify_one();
}

bool StallWatch::has_stalled() const {
  const std::lock_guard lock(mutex_);
  return has_stalled_;
}

void StallWatch::Watch(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    progress_ = false;
    const bool went_on = progressed_.wait_for(lock, stop, absl::ToChronoNanoseconds(longest_),
                                              [this] { return progress_; });
    if (went_on || stop.stop_requested()) continue;
    has_stalled_ = true;
    lock.unlock();
    return call_.TryCancel();
  }
}

}  // namespace fedtune
