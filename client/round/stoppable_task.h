// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <mutex>
#include <optional>
#include <stop_token>

namespace fedtune {

// What a thread that does one task after another is at, for whoever wants to stop that
// and nothing else. Thread-safe.
template <typename Id>
class StoppableTask {
 public:
  // The thread begins with a task, which is over when it begins with the next one.
  std::stop_token Begin(const Id& id) {
    const std::lock_guard lock(mutex_);
    id_ = id;
    stop_ = std::stop_source();
    if (all_stopped_) stop_.request_stop();
    return stop_.get_token();
  }

  // Does nothing when the thread is at another one.
  void Stop(const Id& id) {
    const std::lock_guard lock(mutex_);
    if (id_ == id) stop_.request_stop();
  }

  // Also those that begin later.
  void StopAll() {
    const std::lock_guard lock(mutex_);
    all_stopped_ = true;
    stop_.request_stop();
  }

 private:
  std::mutex mutex_;
  std::optional<Id> id_;
  std::stop_source stop_;
  bool all_stopped_ = false;
};

}  // namespace fedtune
