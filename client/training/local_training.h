// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/statusor.h"
#include "client/training/trainer.h"
#include "model/transformer/model.h"

namespace fedtune {

// Trainer::Train() on `model`; throws what LibTorch throws.
absl::StatusOr<TrainingOutcome> TrainLocally(const Model& model, const TrainingRequest& request,
                                             const TrainingObserver& observer);

}  // namespace fedtune
