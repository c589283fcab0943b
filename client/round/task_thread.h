// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace fedtune {

// Does tasks on a thread of its own, one after the other. Thread-safe.
class TaskThread {
 public:
  TaskThread() : thread_([this](const std::stop_token& stop) { Run(stop); }) {}

  // Waits for the running task; those that have not begun are dropped.
  ~TaskThread() = default;

  void Post(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    posted_.notify_one();
  }

 private:
  void Run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (posted_.wait(lock, stop, [this] { return !tasks_.empty(); }) && !stop.stop_requested()) {
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any posted_;
  std::deque<std::function<void()>> tasks_;
  std::jthread thread_;  // Last: ends first.
};

}  // namespace fedtune
