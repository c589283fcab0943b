// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/driver/clients/client_line.h"
#include "coordinator/driver/timer_queue.h"
#include "coordinator/rounds/run.h"
#include "coordinator/storage/run_store.h"
#include "proto/fedtune/v1/training.pb.h"

namespace fedtune::simulation {

// Who stands between the product and what is simulated around it. This one does
// nothing; a planted bug overrides what it needs.
class Doubles {
 public:
  virtual ~Doubles() = default;

  // What a new coordinator process takes for its store and timers.
  virtual RunStore& Store(RunStore& disk) { return disk; }
  virtual std::unique_ptr<TimerQueue> Timers(std::unique_ptr<TimerQueue> timers) { return timers; }

  // Whether the disk of the contributions says that it has them and has not.
  virtual bool LosesSyncs() { return false; }

  // A coordinator's process has ended.
  virtual void CoordinatorEnded() {}

  // A contribution comes to the coordinator, whose run is as told: its
  // header, and its values when they are whole.
  virtual void Arriving(ContributionHeader&, const RunView&) {}
  virtual bool Arrived(const ContributionHeader&, std::vector<float>&) { return false; }

  // What the coordinator says to a client, at the beginning and later.
  virtual void Welcoming(v1::Welcome&) {}
  virtual void Telling(ClientCommand&) {}

  // What a client says besides.
  virtual std::vector<v1::ClientMessage> AlsoSaid(const v1::ClientMessage&) { return {}; }

  // What a client hears of its call.
  virtual absl::Status Heard(absl::Status answer) { return answer; }

  // A client's process has ended; its journal is this file.
  virtual void ClientEnded(const std::filesystem::path&) {}

  // Of what a client trains, see SyntheticallyTrained().
  virtual uint64_t TrainingNonce() { return 0; }
};

}  // namespace fedtune::simulation
