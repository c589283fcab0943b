// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/model_config.h"

namespace fedtune {

// Whether a checkpoint holds what its config.json does not know of and a model
// without it would compute something else: layers beyond the last one, biases, shared
// experts, a head of its own beside tied embeddings. Whether an untied head is there. Other unknown
// tensors are left out, as transformers does. Says what to do with experts that are stored in one
// tensor, and with weights of types that we do not compute with. Reads names and types, and of a
// tied head a few values. And whether no adapter lies in the folder, which transformers would load.
//
// INVALID_ARGUMENT: names the tensor and the configuration's field, or the adapter. NOT_FOUND: no
// head.
absl::Status CheckOneModel(const ModelConfig& config, const Checkpoint& checkpoint);

}  // namespace fedtune
