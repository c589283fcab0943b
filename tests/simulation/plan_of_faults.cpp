// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/plan_of_faults.h"

#include <algorithm>

#include "fmt/format.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune::simulation {
namespace {

absl::Duration Often(Draws& draws, absl::Duration least, absl::Duration most) {
  return draws.Chance(0.4) ? draws.Between(least, most) : absl::InfiniteDuration();
}

double Likely(Draws& draws, double most) {
  return draws.Chance(0.4) ? most * static_cast<double>(1 + draws.Below(100)) / 100 : 0;
}

FaultMix DrawMix(Draws& draws) {
  FaultMix mix;
  mix.coordinator_crash = Often(draws, absl::Seconds(10), absl::Minutes(2));
  mix.client_crash = Often(draws, absl::Seconds(5), absl::Minutes(1));
  mix.cut = Often(draws, absl::Seconds(3), absl::Minutes(1));
  mix.partition = Often(draws, absl::Seconds(20), absl::Minutes(2));
  mix.disk_full = Often(draws, absl::Seconds(30), absl::Minutes(3));
  mix.store_held = Often(draws, absl::Seconds(30), absl::Minutes(3));
  mix.clock_step = Often(draws, absl::Seconds(30), absl::Minutes(3));
  if (draws.Chance(0.1)) mix.stop = draws.Between(absl::Seconds(20), absl::Minutes(3));
  mix.crash_at_store = Likely(draws, 0.15);
  mix.crash_at_send = Likely(draws, 0.03);
  mix.client_crash_at_send = Likely(draws, 0.1);
  mix.call_lost = Likely(draws, 0.3);
  mix.call_cut = Likely(draws, 0.2);
  mix.answer_lost = Likely(draws, 0.3);
  mix.late_duplicate = Likely(draws, 0.4);
  mix.slow_call = Likely(draws, 0.5);
  mix.joined = Likely(draws, 0.9);
  mix.training_fails = Likely(draws, 0.1);
  mix.declines = Likely(draws, 0.1);
  mix.full_client_disk = Likely(draws, 0.05);
  if (draws.Chance(0.3)) mix.latency = draws.Between(absl::Milliseconds(100), absl::Seconds(5));
  if (draws.Chance(0.3)) mix.training = draws.Between(absl::Seconds(20), absl::Minutes(2));
  if (draws.Chance(0.2)) mix.pause = draws.Between(absl::Seconds(20), absl::Minutes(2));
  if (draws.Chance(0.3)) mix.retries = 1 + draws.Below(2);
  return mix;
}

// Of [rounds], whom it asks, and how it takes those who are late.
std::string CohortOf(const SchedulePlan& plan) {
  if (plan.asynchronous) {
    return fmt::format("asynchronous = true\nmax_staleness = {}\n", plan.max_staleness);
  }
  std::string toml = fmt::format("cohort_size = {}\n", plan.cohort_size);
  if (!plan.keeps_stragglers) return toml;
  return toml + fmt::format("stragglers = \"keep\"\nmax_staleness = {}\n", plan.max_staleness);
}

// A seed of the run besides: which records, which cohort.
std::string TomlOf(const SchedulePlan& plan, Draws& draws) {
  constexpr const char* kMethods[] = {"alternating", "fedit"};
  constexpr const char* kOptimizers[] = {"average", "momentum", "adam"};
  std::string toml = fmt::format(
      "name = \"simulated\"\nbase_model = \"icd-moe\"\n"
      "[adapter]\nrank = 1\ntargets = [\"q_proj\"]\n"
      "[training]\nsteps = 1\nbatch_size = 1\nseed = {}\n"
      "[rounds]\ncount = {}\nquorum = {}\nclose_at = {}\ndeadline = \"{}s\"\n"
      "{}[aggregation]\nmode = \"{}\"\nmethod = \"{}\"\nweights = \"{}\"\n"
      "[server]\noptimizer = \"{}\"\n",
      draws.Below(1000), plan.rounds, plan.quorum, plan.close_at,
      absl::ToInt64Seconds(plan.deadline), CohortOf(plan), plan.secure ? "secure" : "plain",
      plan.keeps_stragglers ? "fedit" : kMethods[draws.Below(2)],
      draws.Chance(0.5) ? "examples" : "uniform", kOptimizers[draws.Below(3)]);
  if (plan.secure) {
    toml += fmt::format(
        "[secure]\nmin_cohort = 3\nmax_cohort = {}\nassumed_corrupt = 0\n"
        "phase_deadline = \"{}s\"\n",
        plan.clients, absl::ToInt64Seconds(plan.phase_deadline));
  }
  return toml;
}

// Stragglers are there where a round closes before all have answered.
void DrawLateness(SchedulePlan& plan, Draws& draws, bool quiet) {
  plan.keeps_stragglers = true;
  plan.max_staleness = 1 + draws.Below(3);
  if (quiet) return;
  plan.asynchronous = draws.Chance(0.5);
  if (plan.asynchronous) plan.cohort_size = 0;
  if (!plan.asynchronous && !draws.Chance(0.7)) return;
  const int64_t asked = plan.cohort_size > 0 ? plan.cohort_size : plan.clients;
  plan.close_at = plan.quorum + draws.Below(asked - plan.quorum + 1);
}

}  // namespace

SchedulePlan DrawPlan(Draws& draws, bool quiet) {
  SchedulePlan plan;
  plan.secure = draws.Chance(0.4);
  plan.clients = static_cast<int>(3 + (plan.secure ? draws.Below(3) : draws.Below(6)));
  plan.rounds = 2 + draws.Below(2);
  const int64_t least = plan.secure ? std::max(3, CompleteGraphThreshold(plan.clients)) : 1;
  plan.quorum = least + draws.Below(plan.clients - least + 1);
  if (!quiet && draws.Chance(0.3)) {
    plan.cohort_size = plan.quorum + draws.Below(plan.clients - plan.quorum + 1);
  }
  if (!quiet && draws.Chance(0.3)) plan.close_at = plan.quorum;
  if (!plan.secure && draws.Chance(0.5)) DrawLateness(plan, draws, quiet);
  plan.deadline = draws.Between(absl::Seconds(60), absl::Seconds(180));
  plan.deadline = absl::Floor(plan.deadline, absl::Seconds(1));
  plan.phase_deadline = absl::Seconds(10 + draws.Below(30));
  plan.calm = quiet ? absl::ZeroDuration() : draws.Between(absl::Minutes(1), absl::Minutes(8));
  plan.toml = TomlOf(plan, draws);
  if (!quiet) plan.faults = DrawMix(draws);
  return plan;
}

}  // namespace fedtune::simulation
