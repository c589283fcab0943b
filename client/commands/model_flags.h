// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "client/commands/trainer_factory.h"

namespace fedtune {

// A base model and the device to run it on, for commands that need no
// configuration.
struct ModelFlags {
  std::filesystem::path base;
  std::string device = "auto";
  int threads = 0;
};

void AddModelFlags(CLI::App& command, ModelFlags& flags);

// Loads the base model onto the device, and says on stderr which that is.
absl::StatusOr<std::unique_ptr<Trainer>> OpenTrainer(const ModelFlags& flags,
                                                     const TrainerFactory& trainers);

}  // namespace fedtune
