// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "model/transformer/model.h"

namespace fedtune {

// How a model is kept and computed.
enum class ModelForm : uint8_t {
  // Everything in fp32: small models are widened when they are loaded, large
  // ones stay memory-mapped as they are and are widened while they are used.
  kForCpu,

  // Weights and activations in bf16, but for routers and norms; routed experts
  // side by side for grouped products.
  kForGpu,
};

// Loads a Hugging Face checkpoint, in the form for the device.
//
// NOT_FOUND: no such folder, or a file or a weight is missing.
// INVALID_ARGUMENT: an architecture that is not supported, or weights that do
// not fit the configuration. Throws what LibTorch throws, as when memory ends.
absl::StatusOr<Model> LoadModel(const std::filesystem::path& directory, at::Device device);

// The same in any form: the CPU computes what a GPU would.
absl::StatusOr<Model> LoadModel(const std::filesystem::path& directory, at::Device device,
                                ModelForm form);

}  // namespace fedtune
