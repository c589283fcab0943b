// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/timer_queue.h"

#include <algorithm>
#include <chrono>

namespace fedtune {

ThreadedTimerQueue::ThreadedTimerQueue(const Clock& clock)
    : clock_(clock), thread_([this] { Wait(); }) {}

void ThreadedTimerQueue::StopThread() {
  std::multimap<absl::Duration, std::function<void()>> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(waiting_);
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void ThreadedTimerQueue::At(absl::Duration when, std::function<void()> function) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    waiting_.emplace(when, std::move(function));
  }
  changed_.notify_all();
}

void ThreadedTimerQueue::After(absl::Duration wait, std::function<void()> function) {
  At(clock_.Monotonic() + wait, std::move(function));
}

void ThreadedTimerQueue::Wait() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (waiting_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const absl::Duration left = waiting_.begin()->first - clock_.Monotonic();
    if (left > absl::ZeroDuration()) {
      changed_.wait_for(lock, absl::ToChronoNanoseconds(std::min(left, absl::Hours(1))));
      continue;
    }
    std::function<void()> function = std::move(waiting_.begin()->second);
    waiting_.erase(waiting_.begin());
    lock.unlock();
    function();
    function = nullptr;  // What it holds goes without the lock, too.
    lock.lock();
  }
}

}  // namespace fedtune
