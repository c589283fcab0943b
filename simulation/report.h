// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "simulation/simulation.h"

namespace fedtune::simulation {

// What a client sends and receives in a round, as the plan check estimates it: as the
// plan is, and with its aggregation the other way; a plain plan's with cohorts of 200.
struct EstimatedTransfer {
  double plain_up = 0;
  double plain_down = 0;
  double secure_up = 0;
  double secure_down = 0;
};
EstimatedTransfer EstimateTransfer(const SimulatedPlan& plan);

// For people: the head of a table, a line of it, and what stands below.
std::string TableHead();
std::string TableLine(const RoundReport& round);
std::string TableFoot(const SimulatedPlan& plan, const SimulationReport& report);

// For machines: a line each, {"round":...}, from 1, and {"state":...}.
std::string JsonLine(const RoundReport& round);
std::string JsonFoot(const SimulatedPlan& plan, const SimulationReport& report);

}  // namespace fedtune::simulation
