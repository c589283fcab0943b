// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "coordinator/rounds/names.h"

namespace fedtune {

// How many streaming calls an institution has open: each costs memory and, with others of
// its connection, a descriptor, and lasts for as long as its client likes, which need not
// read what it has asked for. Thread-safe.
class OpenCalls {
 public:
  // Far more than a client needs for all its runs, with those that a lost connection has
  // left behind.
  static constexpr long kMost = 128;

  // A place among them, for as long as it or a copy of it is kept.
  using Place = std::shared_ptr<const void>;

  // Null: the institution has as many as it may.
  Place Begin(const Institution& institution) {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<const int>& all = open_[institution];
    if (all == nullptr) all = std::make_shared<const int>(0);
    return all.use_count() > kMost ? nullptr : all;
  }

 private:
  std::mutex mutex_;
  // One use is the map's own, each other one a call's. As many as have certificates.
  std::map<Institution, std::shared_ptr<const int>> open_;
};

}  // namespace fedtune
