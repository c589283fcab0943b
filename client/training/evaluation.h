// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/statusor.h"
#include "client/training/trainer.h"
#include "model/transformer/model.h"

namespace fedtune {

// Trainer::Evaluate() on `model`; throws what LibTorch throws.
absl::StatusOr<Evaluation> EvaluateAdapter(const Model& model, const EvaluationRequest& request,
                                           const EvaluationObserver& observer);

}  // namespace fedtune
