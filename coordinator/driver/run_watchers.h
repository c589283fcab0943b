// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "coordinator/driver/timer_queue.h"

namespace fedtune {

// Someone who wants to know when a run changes.
class RunWatcher {
 public:
  virtual ~RunWatcher() = default;

  // Something has changed since the last call. Must be short.
  virtual void RunChanged() = 0;
};

// Tells a run's watchers of its changes, those of a tenth of a second together.
// Thread-safe.
class RunWatchers : public std::enable_shared_from_this<RunWatchers> {
 public:
  explicit RunWatchers(TimerQueue& timers) : timers_(timers) {}

  // A watcher that is gone is forgotten.
  void Add(std::weak_ptr<RunWatcher> watcher);

  // Returns at once.
  void Notify();

 private:
  void Tell();

  TimerQueue& timers_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<RunWatcher>> watchers_;
  bool notified_ = false;  // Tell() is due.
};

}  // namespace fedtune
