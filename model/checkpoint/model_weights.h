// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "absl/status/status.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/model_config.h"

namespace fedtune {

// Where the embedding is. A tied matrix is stored once; accelerate, for one, keeps it
// under the head's name.
std::string EmbeddingName(const ModelConfig& config, const Checkpoint& checkpoint);

// Whether a checkpoint holds all that a model of this configuration is put together from,
// in its shapes and of types that we compute with: matrices, with the scales of those in
// FP8, biases, norms, and what routers add to choose experts. Reads headers alone.
//
// NOT_FOUND, INVALID_ARGUMENT: name the folder and the tensor.
absl::Status CheckModelWeights(const ModelConfig& config, const Checkpoint& checkpoint);

}  // namespace fedtune
