// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "base/clock.h"

namespace fedtune {

// Calls functions at their time on the clock that never jumps, from one thread
// of its own: they must be short. Thread-safe.
class TimerQueue {
 public:
  // `clock` must outlive the queue.
  explicit TimerQueue(const Clock& clock);

  ~TimerQueue() { Stop(); }

  // Calls `function` at `when` on Clock::Monotonic(), or soon if that has passed.
  void At(absl::Duration when, std::function<void()> function);

  void After(absl::Duration wait, std::function<void()> function);

  // Waits for a function that is being called; drops the others. Nothing is
  // called from then on.
  void Stop();

 private:
  void Wait();

  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<absl::Duration, std::function<void()>> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace fedtune
