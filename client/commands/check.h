// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "client/commands/config_flags.h"
#include "client/commands/trainer_factory.h"
#include "client/config.h"

namespace fedtune {

// One thing that a client needs.
struct CheckResult {
  std::string what;  // "certificate"
  absl::Status status;
  std::string detail;  // When it is in order: "until 2026-11-30".
};

struct CheckOptions {
  ConfigSource source;
  bool json = false;
};

// Looks at all that a client needs and prints a line for each: in order, or what
// is wrong and what to do.
//
// SumOf() what was found; INVALID_ARGUMENT when the configuration itself cannot be read.
absl::Status CheckClient(const CheckOptions& options, const TrainerFactory& trainers,
                         const Clock& clock);

// What trains, and whether the first base model can be loaded on it. A GPU that a running
// client computes on is left alone: the client counts on all of the memory that it found.
absl::StatusOr<std::string> CheckDevice(const ClientConfig& config, const TrainerFactory& trainers);

// How many have failed, with the code and the exit code of the first of them.
absl::Status SumOf(const std::vector<CheckResult>& results);

// The lines for people, or one JSON object.
std::string PresentChecks(const std::vector<CheckResult>& results, bool json);

}  // namespace fedtune
