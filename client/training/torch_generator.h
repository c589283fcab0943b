// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "client/training/generator.h"
#include "client/training/torch_trainer.h"

namespace fedtune {

// A generator that computes with LibTorch, with an adapter of `layout`, whose values may
// be empty: the base model alone.
//
// Errors as OpenTorchTrainer(); INVALID_ARGUMENT also: the layout does not fit the base
// model, or the adapter not the layout.
absl::StatusOr<std::unique_ptr<Generator>> OpenTorchGenerator(const TorchTrainerOptions& options,
                                                              const AdapterLayout& layout,
                                                              std::span<const float> adapter);

}  // namespace fedtune
