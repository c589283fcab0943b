// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/command_line.h"

namespace fedtune {

// What `fedtune simulate` and the program that it starts, fedtune-simulate, are asked.
struct SimulateArguments {
  std::filesystem::path plan;
  std::optional<int64_t> clients;
  uint64_t seed = 1;
  double dropout = 0;
  std::string trainer = "synthetic";    // Or "real".
  std::optional<std::string> training;  // "90s": of the typical client.
  std::vector<std::filesystem::path> data;
  int64_t threads = 1;
  std::optional<std::filesystem::path> state;
};

// The words of the command, under this program's or command's name.
CommandText SimulateText(std::string name, const std::string& command);

void AddSimulateOptions(CLI::App& command, SimulateArguments& arguments);

// The same as a command line; what was not given is left out.
std::vector<std::string> ToCommandLine(const SimulateArguments& arguments);

// "90s", "5m": how long the typical client trains in a round; a quarter of the
// deadline if nothing is said. INVALID_ARGUMENT: not a positive time.
absl::StatusOr<absl::Duration> TrainingTimeOf(const SimulateArguments& arguments,
                                              absl::Duration round_deadline);

}  // namespace fedtune
