// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/transformer/adapter.h"
#include "model/transformer/model.h"

namespace fedtune {

// The logits behind every token of each sequence, [tokens, vocabulary] row by
// row, for tests that compare them with those of other implementations. The sequences go through
// the model as one packed batch, and all their logits are in memory.
std::vector<std::vector<float>> SequenceLogits(const Model& model, const Adapter& adapter,
                                               std::span<const std::vector<int32_t>> sequences);

}  // namespace fedtune
