// SPDX-License-Identifier: Apache-2.0

// Plays one schedule of the simulation, or several:
//
//   simulate_schedule SEED [--trace] [--count N] [--bug NAME]

#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "fmt/format.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/world.h"

namespace fedtune::simulation {
namespace {

struct Wanted {
  uint64_t seed = 0;
  uint64_t count = 1;
  bool trace = false;
  std::string bug;
};

std::unique_ptr<Doubles> Plant(const std::string& name) {
  for (const PlantedBug& bug : PlantedBugs()) {
    if (bug.name == name) return bug.plant();
  }
  return std::make_unique<Doubles>();
}

int Play(const Wanted& wanted) {
  int64_t failed = 0;
  std::map<std::string, int64_t> ends;
  for (uint64_t seed = wanted.seed; seed < wanted.seed + wanted.count; ++seed) {
    const std::unique_ptr<Doubles> doubles = Plant(wanted.bug);
    World world(seed, *doubles);
    world.Run();
    if (wanted.trace) std::cout << world.Story();
    for (const std::string& violation : world.auditor().violations()) {
      std::cout << fmt::format("seed {}: {}\n", seed, violation);
    }
    failed += world.auditor().violations().empty() ? 0 : 1;
    ++ends[world.Summary()];
  }
  for (const auto& [end, count] : ends) std::cout << fmt::format("{:>6} {}\n", count, end);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace fedtune::simulation

int main(int argc, char** argv) {
  fedtune::simulation::Wanted wanted;
  CLI::App app("Plays schedules of faults in virtual time");
  app.add_option("seed", wanted.seed, "The schedule")->required();
  app.add_option("--count", wanted.count, "So many, from this seed on");
  app.add_option("--bug", wanted.bug, "With this planted bug");
  app.add_flag("--trace", wanted.trace, "Print what happens");
  CLI11_PARSE(app, argc, argv);
  return fedtune::simulation::Play(wanted);
}
