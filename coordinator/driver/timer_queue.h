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

// Calls functions, which must be short, at their time on the clock that never
// jumps; one at a time, never within At() or After(). Thread-safe.
class TimerQueue {
 public:
  virtual ~TimerQueue() = default;

  // Calls `function` at `when` on Clock::Monotonic(), or soon if that has passed.
  virtual void At(absl::Duration when, std::function<void()> function) = 0;

  virtual void After(absl::Duration wait, std::function<void()> function) = 0;

  // Waits for a function that is being called; drops the others. Nothing is
  // called from then on.
  virtual void Stop() = 0;
};

// On one thread of its own.
class ThreadedTimerQueue final : public TimerQueue {
 public:
  // `clock` must outlive the queue.
  explicit ThreadedTimerQueue(const Clock& clock);

  ~ThreadedTimerQueue() override { StopThread(); }

  void At(absl::Duration when, std::function<void()> function) override;
  void After(absl::Duration wait, std::function<void()> function) override;
  void Stop() override { StopThread(); }

 private:
  void Wait();
  void StopThread();

  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<absl::Duration, std::function<void()>> waiting_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace fedtune
