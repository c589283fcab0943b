// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "client/round/local_workshop.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/plan.h"
#include "privacy/crypto/sha256.h"

namespace fedtune::simulation {

// A plan that can work, and where its base model lies.
struct SimulatedPlan {
  std::string toml;
  Plan plan;
  BaseModelDescription base_model;  // With its digest.
  std::filesystem::path base_folder;
  AdapterLayout layout;
};

struct SimulationOptions {
  int64_t clients = 0;
  uint64_t seed = 1;
  double dropout = 0;                // The likelihood that a client is cut off in a round.
  absl::Duration training = {};      // Of the typical client, a round.
  std::filesystem::path state = {};  // For the coordinator's database; must be empty.
};

// What clients train with, where that is not made up: one for each.
struct RealSite {
  std::string institution;
  RecordLoader load_records;
};
struct RealTraining {
  std::vector<RealSite> sites = {};  // Empty: synthetic training.
  TrainerOpener open_trainer = {};
  int threads = 1;  // That train, one client each.
};

// A round that was released.
struct RoundReport {
  int64_t round = 0;  // Counted from 0.
  int64_t attempt = 0;
  int64_t cohort = 0;
  int64_t contributions = 0;
  double training_loss = 0;
  absl::Duration duration = {};  // Virtual.
  double bytes_up = 0;           // Of one client of the cohort, on average, with what the
  double bytes_down = 0;         // attempts before this one took.
  Digest adapter = {};
  std::string burnt = "";  // Why; empty: it counts.
};

struct SimulationReport {
  std::string state;  // "finished", ...
  std::string reason;
  std::vector<RoundReport> rounds;
  int64_t transitions = 0;  // Of the coordinator, and what one took.
  absl::Duration transition_median;
  absl::Duration transition_p99;
  absl::Duration transition_max;
  absl::Duration release_max;   // Made and stored on a thread of its own.
  double bytes_per_client = 0;  // Resident memory, of coordinator and clients together.
  absl::Duration virtual_time;
  absl::Duration wall_time;
};

// Plays a run from its start to its end in virtual time: the real coordinator with its
// database, and as many real clients. The same arguments give the same rounds, bit for
// bit, unless training itself is not repeatable; times on the machine's clock differ.
// Draws from SeedRandomBytes(): only for programs that link it.
//
// FAILED_PRECONDITION: the run cannot start, as fewer clients than the quorum.
// Others: of the directory and what is stored there.
absl::StatusOr<SimulationReport> Simulate(const SimulatedPlan& plan,
                                          const SimulationOptions& options,
                                          const RealTraining& real,
                                          const std::function<void(const RoundReport&)>& on_round);

}  // namespace fedtune::simulation
