// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "model/checkpoint/base_model_description.h"
#include "plan/cost.h"

namespace fedtune {

// Whether a CPU with AVX-512 computes with weights in bf16 as they are: those of a model
// that is not small, or too large to be widened.
bool StaysBf16(const BaseModelDescription& model);

// Weights at their most, while a model is loaded; see EstimateCost().
int64_t WeightBytes(const BaseModelDescription& model, ComputeType type);

// Of these, what of an embedding that is no head is given back before the training, on a
// CPU: all but the pages on which tokens lie, or all where it was copied.
int64_t ReturnedEmbeddingBytes(const BaseModelDescription& model, ComputeType type,
                               int64_t embedding_pieces);

}  // namespace fedtune
