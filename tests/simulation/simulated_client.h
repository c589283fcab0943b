// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <memory>

#include "coordinator/rounds/names.h"
#include "tests/simulation/client_surroundings.h"
#include "tests/simulation/ground.h"

namespace fedtune::simulation {

// One institution: its disk, and one process after another. A process is the real
// ClientState, LocalWorkshop and SecureDesk with a SessionJournal, all that
// ClientDaemon has but its threads: each of these is a queue in virtual time.
class SimulatedClient {
 public:
  // The others must outlive it. `directory` is its disk.
  SimulatedClient(Institution institution, std::filesystem::path directory, Ground& ground,
                  ClientSurroundings& surroundings);
  ~SimulatedClient();

  const Institution& institution() const { return institution_; }

  // Begins a process unless one is there; the next ones begin by themselves.
  void Start();
  // Ends it, if it is there.
  void Crash();
  void StepClock(absl::Duration by);

 private:
  class Process;

  void RestartSoon();

  const Institution institution_;
  const std::filesystem::path directory_;
  Ground& ground_;
  ClientSurroundings& surroundings_;
  ProcessClock clock_;
  std::shared_ptr<Process> process_;
  int64_t processes_ = 0;
};

}  // namespace fedtune::simulation
