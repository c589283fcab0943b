// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/training/compute_device.h"
#include "client/training/torch_trainer.h"
#include "client/training/trainer.h"

namespace fedtune {

// How commands get a trainer: with ChooseDevice() and OpenTorchTrainer(), or
// others in tests.
struct TrainerFactory {
  std::function<absl::StatusOr<ComputeDevice>(std::string_view name)> choose_device;
  std::function<absl::StatusOr<std::unique_ptr<Trainer>>(const TorchTrainerOptions& options)> open;
};

}  // namespace fedtune
