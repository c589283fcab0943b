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
  std::optional<std::filesystem::path> adapter;  // A PEFT folder.
  std::filesystem::path data;
  std::string choices = "from-data";
  int64_t sequence_length = 0;  // 0: the model's context.
  bool json = false;
};

void AddEvaluateFlags(CLI::App& command, EvaluateOptions& options);

// Prints the loss of a base model, with or without an adapter, on a file of
// records, and how often the likeliest of the file's answers is the right one.
absl::Status EvaluateFile(const EvaluateOptions& options, const TrainerFactory& trainers,
                          const Clock& clock);

}  // namespace fedtune
