// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "coordinator/driver/contributions/handed_in.h"

namespace fedtune {

// Contributions that wait for whoever stores the next ones, so that those that come at
// the same time are stored together. Thread-safe; its lock is never held while something
// else is waited for.
class ContributionQueue {
 public:
  static constexpr size_t kMostTogether = 64;  // In one transaction: others wait for it.

  void Add(HandedIn& handed);

  // The next ones, one of each client at most: whether there may be another depends on
  // the first.
  std::vector<HandedIn*> NextTogether();

 private:
  std::mutex mutex_;
  std::deque<HandedIn*> waiting_;
};

// Contributions whose callers do not wait: one thread goes through all that come while it
// is under way. Thread-safe.
class ContributionArrivals {
 public:
  // True: no thread is under way. The caller sends one, which calls Next() until nothing
  // comes.
  bool Add(HandedIn& handed);

  // All that have come since the last call. None: the thread is not under way any more.
  std::vector<HandedIn*> Next();

 private:
  std::mutex mutex_;
  std::vector<HandedIn*> arrived_;
  bool is_under_way_ = false;
};

}  // namespace fedtune
