// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/statusor.h"
#include "client/training/torch_trainer.h"
#include "model/transformer/load_model.h"
#include "model/transformer/model.h"

namespace fedtune {

// A model on its device, and with how many threads the CPU computes.
struct TorchModel {
  Model model;
  int threads = 1;
};

// A model on a CPU is in the form that is given. Errors as OpenTorchTrainer(). Throws
// what LibTorch throws.
absl::StatusOr<TorchModel> OpenTorchModel(const TorchTrainerOptions& options,
                                          ModelForm on_cpu = ModelForm::kForCpu);

}  // namespace fedtune
