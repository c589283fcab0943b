// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <utility>

#include "coordinator/driver/timer_queue.h"
#include "coordinator/driver/work_queue.h"
#include "simulation/scheduler.h"

namespace fedtune::simulation {

// How something of a process is called: it may have ended meanwhile, or its time be
// taken.
using Performer = std::function<void(const std::function<void()>& what)>;

// A coordinator's threads in virtual time: each work begins `delay()` after it was
// added.
class VirtualWorkQueue final : public WorkQueue {
 public:
  VirtualWorkQueue(Scheduler& scheduler, std::function<absl::Duration()> delay, Performer perform)
      : scheduler_(scheduler), delay_(std::move(delay)), perform_(std::move(perform)) {}

  void Add(std::function<void()> work) override {
    scheduler_.After(delay_(), [perform = perform_, work = std::move(work)] { perform(work); });
  }
  void Stop() override {}

 private:
  Scheduler& scheduler_;
  const std::function<absl::Duration()> delay_;
  const Performer perform_;
};

// Its timers, on a clock that was 0 at `-since`; each comes `delay()` late.
class VirtualTimerQueue final : public TimerQueue {
 public:
  VirtualTimerQueue(Scheduler& scheduler, absl::Duration since,
                    std::function<absl::Duration()> delay, Performer perform)
      : scheduler_(scheduler),
        since_(since),
        delay_(std::move(delay)),
        perform_(std::move(perform)) {}

  void At(absl::Duration when, std::function<void()> function) override {
    scheduler_.At(when - since_ + delay_(),
                  [perform = perform_, function = std::move(function)] { perform(function); });
  }
  void After(absl::Duration wait, std::function<void()> function) override {
    At(scheduler_.now() + since_ + wait, std::move(function));
  }
  void Stop() override {}

 private:
  Scheduler& scheduler_;
  const absl::Duration since_;
  const std::function<absl::Duration()> delay_;
  const Performer perform_;
};

}  // namespace fedtune::simulation
