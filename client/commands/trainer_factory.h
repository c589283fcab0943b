// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "client/training/torch_trainer.h"
#include "client/training/trainer.h"

namespace fedtune {

// How commands get a trainer: OpenTorchTrainer(), or another one in tests.
using TrainerFactory =
    std::function<absl::StatusOr<std::unique_ptr<Trainer>>(const TorchTrainerOptions& options)>;

}  // namespace fedtune
