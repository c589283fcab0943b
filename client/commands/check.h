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
  std::string what;     // "certificate"
  absl::Status status;  // Otherwise what is wrong, and what to do.
  std::string detail;   // When it is in order: "until 2026-11-30". May have several lines.
};

struct CheckOptions {
  ConfigSource source;
  bool json = false;
};

// Looks at all that a client needs and prints a line for each: in order, or what
// is wrong and what to do. One fault hides no other; only without a good certificate the
// coordinator is not asked. Beside a client that runs, too. Blocks for as long as the base
// models and data sets take to be read, and up to 10 seconds for the coordinator; progress
// goes to stderr. Calls SetUpRpcLibrary(): once in a process, before all else of gRPC.
//
// SumOf() what was found; as ConfigSource::Load() when the configuration itself cannot be
// read, and then nothing is printed.
absl::Status CheckClient(const CheckOptions& options, const TrainerFactory& trainers,
                         const Clock& clock);

// What trains, for people, and whether the first base model can be loaded on it. A GPU that a
// running client computes on is left alone: the client counts on all of the memory that it
// found.
//
// FAILED_PRECONDITION: "auto" is the CPU where there is a GPU that cannot be used, or was one
// at an earlier start. Otherwise as `trainers`.
absl::StatusOr<std::string> CheckDevice(const ClientConfig& config, const TrainerFactory& trainers);

// OK where all are in order; else how many have failed, with the code and the exit code of
// the first of them.
absl::Status SumOf(const std::vector<CheckResult>& results);

// The lines for people, printable whatever is in them (PrintableLines()), or one JSON object.
std::string PresentChecks(const std::vector<CheckResult>& results, bool json);

}  // namespace fedtune
