// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace fedtune {

// Does, one after another or side by side, what is given to it, never within
// Add(). Thread-safe.
class WorkQueue {
 public:
  virtual ~WorkQueue() = default;

  // Does nothing after Stop().
  virtual void Add(std::function<void()> work) = 0;

  // Finishes what has begun; what waits is dropped.
  virtual void Stop() = 0;
};

// On threads of its own.
class ThreadedWorkQueue final : public WorkQueue {
 public:
  explicit ThreadedWorkQueue(int threads);

  ~ThreadedWorkQueue() override { StopThreads(); }

  void Add(std::function<void()> work) override;
  void Stop() override { StopThreads(); }

 private:
  void Work();
  void StopThreads();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fedtune
