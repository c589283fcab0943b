// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/driver.h"

#include <utility>

namespace fedtune {

Driver::Driver(const Foundation& foundation, ActiveRuns::Queues queues)
    : clients(foundation.federation_store, foundation.log),
      runs({.store = foundation.run_store,
            .spool = foundation.spool,
            .lines = lines,
            .signing_roster = foundation.signing_roster,
            .clock = foundation.clock,
            .log = foundation.log},
           std::move(queues)),
      gateway({.lines = lines,
               .runs = runs,
               .run_store = foundation.run_store,
               .clients = clients,
               .clock = foundation.clock,
               .log = foundation.log}),
      administration({.lines = lines,
                      .runs = runs,
                      .run_store = foundation.run_store,
                      .federation_store = foundation.federation_store,
                      .clients = clients,
                      .clock = foundation.clock}) {}

}  // namespace fedtune
