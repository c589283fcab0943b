// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>

#include "base/clock.h"
#include "base/logging.h"
#include "coordinator/driver/active_runs.h"
#include "coordinator/driver/client_gateway.h"
#include "coordinator/driver/clients/client_lines.h"
#include "coordinator/driver/clients/client_records.h"
#include "coordinator/driver/run_administration.h"
#include "coordinator/storage/federation_store.h"
#include "coordinator/storage/run_store.h"
#include "coordinator/storage/spool.h"
#include "privacy/identity/signing_roster.h"

namespace fedtune {

// All of a coordinator that lies between its stores and those who ask: clients come in by
// `gateway`, administrators by `administration`. Its members are thread-safe.
struct Driver {
  // What it refers to must outlive the driver.
  struct Foundation {
    RunStore& run_store;
    FederationStore& federation_store;
    const Spool& spool;
    std::shared_ptr<const SigningRoster> signing_roster = nullptr;  // Null: plain runs only.
    const Clock& clock;
    Log& log;
  };

  // No run is under way before runs.ResumeAll().
  Driver(const Foundation& foundation, ActiveRuns::Queues queues);

  // In the order in which they need each other.
  ClientRecords clients;
  ClientLines lines;
  ActiveRuns runs;
  ClientGateway gateway;
  RunAdministration administration;
};

}  // namespace fedtune
