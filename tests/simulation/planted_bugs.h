// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/simulation/doubles.h"

namespace fedtune::simulation {

// A fault that the product does not have, put between it and its surroundings; and
// what the violation says by which it must be noticed.
struct PlantedBug {
  std::string name;
  std::string violation;
  std::function<std::unique_ptr<Doubles>()> plant;
};

const std::vector<PlantedBug>& PlantedBugs();

}  // namespace fedtune::simulation
