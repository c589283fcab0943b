// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "client/training/compute_device.h"
#include "client/training/trainer.h"

namespace fedtune {

struct TorchTrainerOptions {
  std::filesystem::path model_directory;  // A Hugging Face checkpoint.
  ComputeDevice device = ComputeDevice::Cpu();
  int threads = 0;  // For the CPU; 0: UsableCores().
};

// A trainer that computes with LibTorch. The thread count holds for the whole
// process: open trainers of one process with the same one.
//
// NOT_FOUND: no such folder or file. INVALID_ARGUMENT: not a checkpoint of a
// supported architecture. RESOURCE_EXHAUSTED: the weights do not fit into memory.
// ABORTED: as Trainer.
absl::StatusOr<std::unique_ptr<Trainer>> OpenTorchTrainer(const TorchTrainerOptions& options);

}  // namespace fedtune
