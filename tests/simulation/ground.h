// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/clock.h"
#include "fmt/format.h"
#include "tests/simulation/draws.h"
#include "tests/simulation/plan_of_faults.h"
#include "tests/simulation/scheduler.h"

namespace fedtune::simulation {

// Thrown where a process ends in the middle of what it does.
struct ProcessEnded {};

// Chance, time and the trace of one schedule.
struct Ground {
  Ground(uint64_t seed, bool quiet, std::function<void()> after_each)
      : draws(seed), plan(DrawPlan(draws, quiet)), scheduler(std::move(after_each)) {}

  bool IsCalm() const { return scheduler.now() >= plan.calm; }

  // Whether a fault of this likelihood happens here; none does in the calm.
  bool Happens(double probability) {
    return probability > 0 && !IsCalm() && draws.Chance(probability);
  }
  absl::Duration Latency() { return draws.Between(absl::Milliseconds(1), plan.faults.latency); }

  void Say(std::string_view who, std::string_view what) {
    trace.push_back(
        fmt::format("{:>9.3f} {:<10} {}", absl::ToDoubleSeconds(scheduler.now()), who, what));
  }

  Draws draws;
  const SchedulePlan plan;
  Scheduler scheduler;
  std::vector<std::string> trace;
};

// A process' clocks: the one that never jumps starts anywhere, the time of day may
// be set anew.
class ProcessClock final : public Clock {
 public:
  ProcessClock(const Scheduler& scheduler, absl::Duration since)
      : scheduler_(scheduler), since_(since) {}

  absl::Time Now() const override {
    return absl::FromUnixSeconds(1'800'000'000) + scheduler_.now() + day_;
  }
  absl::Duration Monotonic() const override { return scheduler_.now() + since_; }
  absl::Duration since() const { return since_; }
  void StepBy(absl::Duration by) { day_ += by; }

 private:
  const Scheduler& scheduler_;
  const absl::Duration since_;
  absl::Duration day_ = absl::ZeroDuration();
};

}  // namespace fedtune::simulation
