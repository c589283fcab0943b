// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/sha256.h"
#include "privacy/identity/signing_roster.h"
#include "simulation/coordinator_port.h"
#include "simulation/scheduler.h"
#include "simulation/times.h"

namespace fedtune::simulation {

// What a round came to, as it is stored.
struct ReleasedRound {
  int64_t round = 0;  // Counted from 0.
  int64_t attempt = 0;
  int64_t cohort = 0;
  int64_t contributions = 0;  // 0 also: the round burnt.
  double training_loss = 0;
  absl::Duration duration;  // Virtual, from the opening of the attempt.
  Digest adapter;
  std::string burnt;  // Why; empty: it counts.
};

struct HubOptions {
  std::filesystem::path state;  // The coordinator's directory.
  std::string plan_toml;
  std::string base_model_json;
  std::shared_ptr<const SigningRoster> roster;  // Null: plain runs only.
  std::function<void(const ReleasedRound&)> on_released;
};

// A coordinator in virtual time: all that fedtune-coordinator has but its RPC server,
// with its database, its folder of blobs and its spool. Not thread-safe.
class Hub : public CoordinatorPort {
 public:
  // `scheduler` must outlive it. Errors: of the stores.
  static absl::StatusOr<std::unique_ptr<Hub>> Open(HubOptions options, Scheduler& scheduler);

  // Starts the run with those who are connected. Errors as `fedtune run start`.
  virtual absl::Status StartRun() = 0;

  // How it ended: "finished", "stopped" or "failed"; empty while it goes on.
  virtual std::string state() const = 0;
  virtual std::string reason() const = 0;

  // How long each message, contribution, change of a connection and timer took, with
  // all that was stored and decided because of it.
  virtual const Times& transitions() const = 0;
  // The same of what is done on threads of its own: making and storing releases.
  virtual const Times& works() const = 0;
};

}  // namespace fedtune::simulation
