// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "absl/time/time.h"

namespace fedtune::simulation {

// Virtual time: what is to happen when, one thing at a time, in a fixed order.
class Scheduler {
 public:
  // `after_each` is called after everything that happened.
  explicit Scheduler(std::function<void()> after_each) : after_each_(std::move(after_each)) {}

  absl::Duration now() const { return now_; }
  int64_t steps() const { return steps_; }

  // Among things at one time, the first that was asked for is first.
  void At(absl::Duration when, std::function<void()> what) {
    waiting_.emplace(std::pair(std::max(when, now_), next_++), std::move(what));
  }
  void After(absl::Duration wait, std::function<void()> what) { At(now_ + wait, std::move(what)); }

  // Does what is next. False: nothing is.
  bool Step() {
    if (waiting_.empty()) return false;
    const auto first = waiting_.begin();
    now_ = std::max(now_, first->first.first);
    const std::function<void()> what = std::move(first->second);
    waiting_.erase(first);
    ++steps_;
    what();
    after_each_();
    return true;
  }

  // For something that takes time: lets all else happen meanwhile. As pauses end
  // in the reverse order of their beginning, one may last longer than asked for.
  void Pause(absl::Duration wait) {
    const absl::Duration until = now_ + wait;
    while (!waiting_.empty() && waiting_.begin()->first.first <= until) Step();
    now_ = std::max(now_, until);
  }

 private:
  const std::function<void()> after_each_;
  absl::Duration now_ = absl::ZeroDuration();
  uint64_t next_ = 0;
  int64_t steps_ = 0;
  std::map<std::pair<absl::Duration, uint64_t>, std::function<void()>> waiting_;
};

}  // namespace fedtune::simulation
