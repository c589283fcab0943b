// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "fmt/format.h"
#include "simulation/draws.h"
#include "simulation/scheduler.h"
#include "simulation/virtual_clock.h"
#include "tests/simulation/plan_of_faults.h"

namespace fedtune::simulation {

// Thrown where a process ends in the middle of what it does.
struct ProcessEnded {};

// As whom the coordinator's machine speaks in a trace.
inline constexpr char kHub[] = "hub";

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

}  // namespace fedtune::simulation
