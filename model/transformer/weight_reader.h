// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/model_config.h"

namespace fedtune {

// Takes weights out of a checkpoint. The first thing that is wrong is kept, and
// what is taken from then on is undefined, so that a model can be put together
// without a check after each weight.
class WeightReader {
 public:
  WeightReader(const Checkpoint& checkpoint, at::Device device)
      : checkpoint_(checkpoint), device_(device) {}

  // The tensor as `type` on the device; a copy unless it is of that type, on
  // the CPU and aligned: then the checkpoint must outlive it. Values that are copied,
  // and those of vectors, must be finite; others are not read (CheckFiniteWeights()).
  at::Tensor Take(std::string_view name, const std::vector<int64_t>& shape, at::ScalarType type);

  // The same in the type that the checkpoint has it in. No value is looked at, so
  // that nothing is read from disk before it is used.
  at::Tensor TakeAsStored(std::string_view name, const std::vector<int64_t>& shape);

  // A matrix of `type` from 8-bit floats whose blocks have scales in
  // <name>_scale_inv; one that is stored in a wider type is as from Take().
  at::Tensor TakeScaled(std::string_view name, const std::vector<int64_t>& shape,
                        const Fp8Blocks& blocks, at::ScalarType type);

  // NOT_FOUND: a weight is missing. INVALID_ARGUMENT: one of another shape than
  // the configuration says, of a type that we cannot compute with, or with a value
  // that is not finite.
  const absl::Status& status() const { return status_; }

 private:
  enum class Fp8 : bool { kRefused, kAllowed };

  // A view of the checkpoint's bytes, or an aligned copy.
  at::Tensor View(std::string_view name, const std::vector<int64_t>& shape,
                  Fp8 fp8 = Fp8::kRefused);

  // `values` as they are, if all are finite.
  at::Tensor Finite(std::string_view name, at::Tensor values);

  const Checkpoint& checkpoint_;
  const at::Device device_;
  absl::Status status_;
};

}  // namespace fedtune
