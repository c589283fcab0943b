// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "aggregation/adapter_layout.h"
#include "model/checkpoint/base_model_description.h"
#include "model/checkpoint/model_config.h"
#include "model/transformer/product_time.h"

namespace fedtune::bench {

// The matrix products of a training step, for what it takes beside them to be told. Tokens
// are spread evenly over the routed experts.

// Those of the frozen layers, forwards and for the gradient of x.
std::vector<LayerShape> FrozenLayersOf(const BaseModelDescription& model, int64_t tokens);

// Those of LoRA, forwards, for the gradient of x, and for those of A and B.
std::vector<ProductShape> LoraProductsOf(const BaseModelDescription& model,
                                         const AdapterLayout& layout, int64_t tokens);

// Those of attention over so many records of a length, forwards and for the gradients of
// queries, keys and values. Queries take half of the keys, as those behind them are not
// multiplied.
std::vector<ProductShape> AttentionProductsOf(const ModelConfig& config, int64_t records,
                                              int64_t length);

}  // namespace fedtune::bench
