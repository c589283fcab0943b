// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "base/clock.h"
#include "client/commands/model_flags.h"
#include "client/commands/trainer_factory.h"

namespace fedtune {

struct EvaluateOptions {
  ModelFlags model;
  std::optional<std::filesystem::path> adapter;  // A PEFT folder; none: the base model alone.
  std::filesystem::path data;                    // Records in JSON lines.
  std::string choices = "from-data";             // Or "none": no accuracy is measured.
  int64_t sequence_length = 0;  // Longest record in tokens; 0: the model's context.
  bool json = false;
};

// Adds the command's flags; parsing them fills `options`, which must live as long.
void AddEvaluateFlags(CLI::App& command, EvaluateOptions& options);

// Prints the loss of a base model, with or without an adapter, on a file of
// records, and how often the likeliest of the file's answers is the right one, where there
// are answers to choose among (AnswerChoices()). Blocks; progress, the device and which
// records are left out go to stderr. Once in a process at a time, and before it has other
// threads, as it makes StopSignals.
//
// Whatever the error, nothing is on stdout. CANCELLED: SIGTERM or SIGINT came while it
// evaluated (before that they end the process). Otherwise as DescribeBaseModel(),
// RecordReader, ReadAdapter(), `trainers` and Trainer::Evaluate().
absl::Status EvaluateFile(const EvaluateOptions& options, const TrainerFactory& trainers,
                          const Clock& clock);

}  // namespace fedtune
