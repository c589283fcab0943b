// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "simulation/draws.h"

namespace fedtune::simulation {

// How likely each fault is in one schedule; 0 for most of them in most schedules,
// so that each also meets the others alone (swarm testing).
struct FaultMix {
  // On average so often, while faults last; InfiniteDuration: never.
  absl::Duration coordinator_crash = absl::InfiniteDuration();
  absl::Duration client_crash = absl::InfiniteDuration();
  absl::Duration cut = absl::InfiniteDuration();
  absl::Duration partition = absl::InfiniteDuration();
  absl::Duration disk_full = absl::InfiniteDuration();   // The coordinator's.
  absl::Duration store_held = absl::InfiniteDuration();  // By another process.
  absl::Duration clock_step = absl::InfiniteDuration();  // A client's time of day.
  absl::Duration stop = absl::InfiniteDuration();        // By an administrator.
  absl::Duration pause = absl::InfiniteDuration();       // Likewise, and some time later resumed.
  int64_t retries = 0;                                   // Of a run that failed or was stopped.

  // Per occasion.
  double crash_at_store = 0;  // The coordinator ends before or after a write.
  double crash_at_send = 0;   // Or before it sends.
  double client_crash_at_send = 0;
  double call_lost = 0;       // A client's call does not arrive.
  double call_cut = 0;        // Breaks off in the middle.
  double answer_lost = 0;     // Was carried out, and the client does not know.
  double late_duplicate = 0;  // Arrives once more, much later.
  double slow_call = 0;       // Takes long between its header and its end.
  double joined = 0;          // A contribution waits for others and is stored with them.
  double training_fails = 0;
  double declines = 0;  // The client does not want the run.
  double full_client_disk = 0;
  absl::Duration latency = absl::Milliseconds(20);  // At most, of a message.
  absl::Duration training = absl::Seconds(8);       // At most.
};

// One schedule: what is run, and what goes wrong until `calm`.
struct SchedulePlan {
  bool secure = false;
  int clients = 3;
  int64_t rounds = 2;
  int64_t quorum = 2;
  int64_t cohort_size = 0;
  int64_t close_at = 0;
  bool keeps_stragglers = false;
  bool asynchronous = false;
  int64_t max_staleness = 0;
  absl::Duration deadline;
  absl::Duration phase_deadline;
  absl::Duration calm;
  std::string toml;
  FaultMix faults;
};

// Draws one; with `quiet` one in which nothing goes wrong.
SchedulePlan DrawPlan(Draws& draws, bool quiet);

}  // namespace fedtune::simulation
