// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/model_config.h"

namespace fedtune {

// Whether the files of a folder are one model, the one that its config.json describes.
// It is not where they hold what the configuration does not know of, and a model without
// it would compute something else: layers beyond the last one, biases, shared experts, a
// head of its own beside tied embeddings, or an adapter, which transformers would load.
// Nor where an untied head is missing. Other unknown tensors are left out, as
// transformers does. Reads names and types, and of a tied head a few values.
//
// INVALID_ARGUMENT: names the tensor and the configuration's field, or the adapter; of
// experts that are stored in one tensor, and of weights of types that we do not compute
// with, it says what to do. NOT_FOUND: no head.
absl::Status CheckOneModel(const ModelConfig& config, const Checkpoint& checkpoint);

}  // namespace fedtune
