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
  // Everything is computed in fp32. Small models' weights are widened when they are
  // loaded. Of models from 2^26 parameters on, those in bf16 stay memory-mapped where
  // there are kernels for them (HasMatrixKernels()); from 2^30 on all stay as they
  // are. They are widened while they are used.
  kForCpu,

  // The same, but linear layers whose weights stay in bf16 round their inputs to it,
  // too, where that makes them faster (HasBf16Kernels()).
  kForCpuTraining,

  // The same, as if no model were small: tests see by small ones what large ones do.
  kForCpuInBf16,

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
