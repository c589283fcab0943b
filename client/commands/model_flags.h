// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

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

// What opens the base model on the device that was asked for; says on stderr which that
// is.
absl::StatusOr<TorchTrainerOptions> OnChosenDevice(
    const ModelFlags& flags,
    const std::function<absl::StatusOr<ComputeDevice>(std::string_view name)>& choose_device);

// Loads the base model onto the device.
absl::StatusOr<std::unique_ptr<Trainer>> OpenTrainer(const ModelFlags& flags,
                                                     const TrainerFactory& trainers);

}  // namespace fedtune
