// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "model/transformer/model.h"

namespace fedtune {

// Reads the weights that a loaded model computes with where they lie in its
// checkpoint's files, which opening it does not, on all threads. On another device than
// the CPU there are none: opening looked at what it copied there. The pages of an embedding
// that is not the head, too, do not stay in this process's memory.
//
// INVALID_ARGUMENT: one of them has a value that is not finite; says which.
absl::Status CheckFiniteWeights(const Model& model);

// The same of the embedding alone, of which a text shows what is wrong with a few rows.
absl::Status CheckFiniteEmbedding(const Model& model);

}  // namespace fedtune
