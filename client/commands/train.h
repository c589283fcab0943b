// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "base/clock.h"
#include "client/commands/train_options.h"
#include "client/commands/trainer_factory.h"

namespace fedtune {

// Trains an adapter on one file, without a coordinator, and writes it as PEFT
// stores it.
absl::Status TrainOnFile(const TrainOptions& options, const TrainerFactory& trainers,
                         const Clock& clock);

}  // namespace fedtune
