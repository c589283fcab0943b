// SPDX-License-Identifier: Apache-2.0

// A work queue and a timer queue that do nothing until the test says so.

#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coordinator/driver/timer_queue.h"
#include "coordinator/driver/work_queue.h"
#include "tests/support/fake_clock.h"

namespace fedtune::testing {

class HeldWork final : public WorkQueue {
 public:
  void Add(std::function<void()> work) override { works_.push_back(std::move(work)); }
  void Stop() override { works_.clear(); }

  void DoAll() {
    while (!works_.empty()) {
      for (const auto& work : std::exchange(works_, {})) work();
    }
  }

 private:
  std::vector<std::function<void()>> works_;
};

class FakeTimers final : public TimerQueue {
 public:
  FakeTimers(FakeClock& clock, HeldWork& work) : clock_(clock), work_(work) {}

  void At(absl::Duration when, std::function<void()> function) override {
    waiting_.emplace(when, std::move(function));
  }
  void After(absl::Duration wait, std::function<void()> function) override {
    At(clock_.Monotonic() + wait, std::move(function));
  }
  void Stop() override { waiting_.clear(); }

  // The time passes, and what becomes due is done.
  void Pass(absl::Duration time) {
    const absl::Duration end = clock_.Monotonic() + time;
    work_.DoAll();
    while (!waiting_.empty() && waiting_.begin()->first <= end) {
      auto next = waiting_.extract(waiting_.begin());
      clock_.Advance(std::max(next.key() - clock_.Monotonic(), absl::ZeroDuration()));
      next.mapped()();
      work_.DoAll();
    }
    clock_.Advance(end - clock_.Monotonic());
  }

 private:
  FakeClock& clock_;
  HeldWork& work_;
  std::multimap<absl::Duration, std::function<void()>> waiting_;
};

}  // namespace fedtune::testing
