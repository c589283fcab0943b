// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "model/checkpoint/base_model_description.h"
#include "model/transformer/linear.h"

namespace fedtune {

// The LoRA factors of a model's linear layers, all in one fp32 tensor, every A
// before every B, and their gradients in another of the same shape: what a
// round trains is one stretch of each. Movable.
class Adapter {
 public:
  // Adapts nothing.
  Adapter() = default;

  // All factors zero. `layers` are the model's linear layers, by their index.
  //
  // INVALID_ARGUMENT: `layout` names a layer that the model does not have, or
  // one of another size.
  static absl::StatusOr<Adapter> Create(const AdapterLayout& layout,
                                        std::span<const LinearLayer> layers, at::Device device);

  // Undefined factors for a layer that is not adapted.
  const LoraFactors& Of(const Linear& linear) const {
    const auto index = static_cast<size_t>(linear.index);  // A tied head has -1.
    return index < factors_.size() ? factors_[index] : none_;
  }

  // Sets all values, in the layout's order. INVALID_ARGUMENT: not as many as the
  // layout has, or one that is not a finite number.
  absl::Status Load(std::span<const float> values);

  // All values, in the layout's order.
  std::vector<float> Store() const;

  // From now on these factors are differentiated, and no others.
  void Train(FactorSet factors);

  // From now on, until the next call, a pass drops inputs of the factors with this
  // rate: others for each layer and key. A derivative must be taken before the
  // next call. An adapter begins without dropout.
  void DropInputs(double rate, uint64_t key);
  bool drops_inputs() const { return drops_inputs_; }

  // What is trained. LibTorch adds to the gradients in place; zero them between
  // steps.
  const at::Tensor& trained_values() const { return trained_values_; }
  const at::Tensor& trained_gradients() const { return trained_gradients_; }

 private:
  // Where a factor lies in values_ and in the layout.
  struct Place {
    AdapterTensor tensor;
    int64_t offset = 0;
  };

  void AddFactor(const AdapterTensor& tensor, int64_t offset, at::Tensor& factor);

  at::Tensor values_;
  at::Tensor gradients_;
  at::Tensor trained_values_;
  at::Tensor trained_gradients_;
  int64_t a_count_ = 0;  // Values in all As.
  std::vector<Place> places_;
  std::vector<LoraFactors> factors_;  // By the linear layer's index.
  LoraFactors none_;
  bool drops_inputs_ = false;
};

}  // namespace fedtune
