// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "client/commands/trainer_factory.h"
#include "model/checkpoint/peft_adapter.h"

namespace fedtune {

// A base model and the device to run it on, for commands that need no
// configuration.
struct ModelFlags {
  std::filesystem::path base;
  std::string device = "auto";
  int threads = 0;
};

// Of --recompute, in each command that trains.
inline constexpr char kRecomputeHelp[] =
    "Layers that compute their activations twice, for less memory: auto (as many as it takes "
    "to fit), never or always";

inline constexpr char kMemoryHelp[] =
    "Memory that a training may use, by its forecast (what the machine has)";

void AddModelFlags(CLI::App& command, ModelFlags& flags);

// What opens the base model on the device that was asked for, with no more threads than
// ThreadsFor() allows; says on stderr which that is, and if there are fewer threads. Errors as
// `choose_device`.
absl::StatusOr<TorchTrainerOptions> OnChosenDevice(
    const ModelFlags& flags,
    const std::function<absl::StatusOr<ComputeDevice>(std::string_view name)>& choose_device);

// Loads the base model onto the device.
absl::StatusOr<std::unique_ptr<Trainer>> OpenTrainer(const TorchTrainerOptions& options,
                                                     const TrainerFactory& trainers);
absl::StatusOr<std::unique_ptr<Trainer>> OpenTrainer(const ModelFlags& flags,
                                                     const TrainerFactory& trainers);

// The adapter of `base` that lies in a folder; one of nothing where none is given. Errors as
// Checkpoint::Open() and ReadPeftAdapter().
absl::StatusOr<PeftAdapter> ReadAdapter(const std::optional<std::filesystem::path>& folder,
                                        const std::filesystem::path& base);

// What work with a base model came to: where values overflowed, with the folder of the adapter
// before it, or, where there is none, that of the base model.
absl::Status NamingOverflow(const absl::Status& done,
                            const std::optional<std::filesystem::path>& adapter,
                            const std::filesystem::path& base);

}  // namespace fedtune
