// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <utility>

#include "tests/support/fake_clock.h"
#include "tests/support/fake_queues.h"
#include "tests/support/stored_run.h"

namespace fedtune::testing {

// A run of a coordinator that does nothing of itself: its work is held, and its time
// passes when the test says so.
class HeldRunFixture : public StoredRunFixture {
 protected:
  // As NewProcess().
  void NewHeldProcess(RunStore& store) {
    run_.reset();
    if (runs_ != nullptr) runs_->Shutdown();
    auto work = std::make_unique<HeldWork>();
    work_ = work.get();
    auto timers = std::make_unique<FakeTimers>(time_, *work);
    timers_ = timers.get();
    runs_ = std::make_unique<ActiveRuns>(
        ActiveRuns::Parts{
            .store = store, .spool = spool_, .lines = lines_, .clock = time_, .log = log_},
        ActiveRuns::Queues{.work = std::move(work), .timers = std::move(timers)});
  }

  RunView view() const { return run_->overview().view; }

  FakeClock time_;
  HeldWork* work_ = nullptr;
  FakeTimers* timers_ = nullptr;
  std::shared_ptr<RunDriver> run_;
};

}  // namespace fedtune::testing
