// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "model/transformer/model.h"

namespace fedtune {

// Loads a Hugging Face checkpoint. On the CPU everything is computed in fp32:
// small models are widened now, large ones stay memory-mapped as they are and
// are widened while they are used. On a GPU weights and activations are bf16.
//
// NOT_FOUND: no such folder, or a file or a weight is missing.
// INVALID_ARGUMENT: an architecture that is not supported, or weights that do
// not fit the configuration. Throws what LibTorch throws, as when memory ends.
absl::StatusOr<Model> LoadModel(const std::filesystem::path& directory, at::Device device);

}  // namespace fedtune
