// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/adapter.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "ATen/ops/from_blob.h"
#include "ATen/ops/zeros.h"
#include "absl/container/flat_hash_map.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

using LayerIndex = absl::flat_hash_map<std::string, size_t>;

LayerIndex IndexByName(std::span<const LinearLayer> layers) {
  LayerIndex index;
  for (size_t i = 0; i < layers.size(); ++i) index.emplace(layers[i].name, i);
  return index;
}

absl::Status UnknownLayer(const AdapterModule& module) {
  if (module.name.find(".indexer.") != std::string::npos) {
    return absl::InvalidArgumentError(fmt::format(
        "the adapter changes {}, of the indexer by which tokens choose what they look at; here "
        "they look at everything, so adapters of an indexer are not supported",
        module.name));
  }
  if (module.name.starts_with("layers.")) {
    return absl::InvalidArgumentError(fmt::format(
        "the adapter changes {}, a layer of a model without its head (AutoModel); adapters of "
        "whole models (AutoModelForCausalLM) call it model.{}",
        module.name, module.name));
  }
  return absl::InvalidArgumentError(
      fmt::format("the adapter changes {}, a layer that this base model does not have; is it "
                  "made for another base model?",
                  module.name));
}

// The index of the layer that `module` adapts.
absl::StatusOr<size_t> FindLayer(const AdapterModule& module, std::span<const LinearLayer> layers,
                                 const LayerIndex& index) {
  const auto found = index.find(module.name);
  if (found == index.end()) return UnknownLayer(module);
  const LinearLayer& layer = layers[found->second];
  if (layer.in_features != module.in_features || layer.out_features != module.out_features) {
    return absl::InvalidArgumentError(fmt::format(
        "the adapter takes {} for a layer from {} to {} values, but the base model's goes from {} "
        "to {}; is it made for another base model?",
        module.name, module.in_features, module.out_features, layer.in_features,
        layer.out_features));
  }
  return found->second;
}

}  // namespace

absl::StatusOr<Adapter> Adapter::Create(const AdapterLayout& layout,
                                        std::span<const LinearLayer> layers, at::Device device) {
  const LayerIndex index = IndexByName(layers);
  Adapter adapter;
  const auto options = at::TensorOptions(at::kFloat).device(device);
  adapter.values_ = at::zeros({layout.parameter_count()}, options);
  adapter.gradients_ = at::zeros({layout.parameter_count()}, options);
  adapter.a_count_ = layout.parameter_count(FactorSet::kA);
  adapter.factors_.resize(layers.size());
  int64_t next_a = 0, next_b = adapter.a_count_;
  for (const AdapterTensor& tensor : layout.tensors()) {
    const AdapterModule& module = layout.modules()[static_cast<size_t>(tensor.module_index)];
    ASSIGN_OR_RETURN(const size_t layer, FindLayer(module, layers, index));
    LoraFactors& factors = adapter.factors_[layer];
    factors.scale = module.scale();
    const bool is_a = tensor.factor == Factor::kA;
    int64_t& next = is_a ? next_a : next_b;
    adapter.AddFactor(tensor, next, is_a ? factors.a : factors.b);
    next += tensor.size();
  }
  return adapter;
}

void Adapter::AddFactor(const AdapterTensor& tensor, int64_t offset, at::Tensor& factor) {
  const auto view = [&](const at::Tensor& flat) {
    return flat.narrow(0, offset, tensor.size()).view({tensor.rows, tensor.columns}).detach();
  };
  factor = view(values_);
  factor.mutable_grad() = view(gradients_);
  places_.push_back({tensor, offset});
}

absl::Status Adapter::Load(std::span<const float> values) {
  if (static_cast<int64_t>(values.size()) != values_.numel()) {
    return absl::InvalidArgumentError(fmt::format(
        "an adapter of {} values does not fit a layout of {}", values.size(), values_.numel()));
  }
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
    return absl::InvalidArgumentError("an adapter's values must be finite numbers");
  }
  for (const Place& place : places_) {
    const float* source = values.data() + place.tensor.offset;
    values_.narrow(0, place.offset, place.tensor.size())
        .copy_(at::from_blob(const_cast<float*>(source), {place.tensor.size()}, at::kFloat));
  }
  return absl::OkStatus();
}

std::vector<float> Adapter::Store() const {
  const at::Tensor values = values_.to(at::kCPU);
  std::vector<float> stored(static_cast<size_t>(values.numel()));
  for (const Place& place : places_) {
    const float* source = values.const_data_ptr<float>() + place.offset;
    std::copy_n(source, place.tensor.size(), stored.begin() + place.tensor.offset);
  }
  return stored;
}

void Adapter::DropInputs(double rate, uint64_t key) {
  drops_inputs_ = rate > 0;
  for (size_t i = 0; i < factors_.size(); ++i) {
    factors_[i].dropout = {.rate = rate, .key = SubKey(key, i), .first_row = 0};
  }
}

void Adapter::Train(FactorSet factors) {
  for (LoraFactors& lora : factors_) {
    if (!lora.defined()) continue;
    lora.a.set_requires_grad(Contains(factors, Factor::kA));
    lora.b.set_requires_grad(Contains(factors, Factor::kB));
  }
  gradients_.zero_();
  const int64_t begin = Contains(factors, Factor::kA) ? 0 : a_count_;
  const int64_t end = Contains(factors, Factor::kB) ? values_.numel() : a_count_;
  trained_values_ = values_.narrow(0, begin, end - begin);
  trained_gradients_ = gradients_.narrow(0, begin, end - begin);
}

}  // namespace fedtune
