// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "CLI/CLI.hpp"
#include "client/commands/trainer_factory.h"

namespace fedtune {

// A base model and the device to run it on, for commands that need no
// configuration.
struct ModelFlags {
  std::filesystem::path base;
  std::string device = "auto";
  int threads = 0;

  TorchTrainerOptions ForTrainer() const {
    return {.model_directory = base, .device = device, .threads = threads};
  }
};

inline void AddModelFlags(CLI::App& command, ModelFlags& flags) {
  command.add_option("--base", flags.base, "Folder of the base model")->required();
  command.add_option("--device", flags.device, "cpu, cuda:0, or the GPU if there is one")
      ->capture_default_str();
  command.add_option("--threads", flags.threads, "Threads on the CPU; 0: all cores")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
}

}  // namespace fedtune
