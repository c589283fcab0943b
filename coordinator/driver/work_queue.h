// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace fedtune {

// Threads that do, one after another, what is given to them. Thread-safe.
class WorkQueue {
 public:
  explicit WorkQueue(int threads);

  ~WorkQueue() { Stop(); }

  // Does nothing after Stop().
  void Add(std::function<void()> work);

  // Finishes what has begun; what waits is dropped.
  void Stop();

 private:
  void Work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fedtune
