// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <mutex>
#include <stop_token>

namespace fedtune {

// How the one who gave a piece of work holds it up or ends it. Thread-safe.
class WorkControl {
 public:
  void Stop() { stop_.request_stop(); }

  void Pause() {
    const std::lock_guard lock(mutex_);
    paused_ = true;
  }

  void Resume() {
    const std::lock_guard lock(mutex_);
    paused_ = false;
    changed_.notify_all();
  }

  // For the worker, between two parts of a step: waits while paused. False: stopped.
  bool Proceed() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop_.get_token(), [this] { return !paused_; });
    return !stop_.stop_requested();
  }

  std::stop_token stop_token() const { return stop_.get_token(); }

 private:
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool paused_ = false;
};

}  // namespace fedtune
