// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/model_config.h"
#include "model/transformer/adapter.h"
#include "model/transformer/attention.h"
#include "model/transformer/experts.h"
#include "model/transformer/mlp.h"
#include "model/transformer/packed_batch.h"

namespace fedtune {

struct DecoderLayer {
  at::Tensor attention_norm;
  AttentionWeights attention;
  at::Tensor mlp_norm;
  std::variant<MlpWeights, MoeWeights> mlp;
};

// A base model: frozen weights and the functions over them. Movable; immutable
// once loaded, so that threads may share it.
struct Model {
  ModelConfig config;
  std::vector<LinearLayer> linear_layers;  // By Linear::index; a tied head is none.
  at::Tensor embedding;                    // [vocabulary, hidden]
  std::vector<DecoderLayer> layers;
  at::Tensor norm;
  Linear head;
  at::Tensor rotary_frequencies;
  at::ScalarType compute_type = at::kFloat;  // Of activations.
  std::shared_ptr<const Checkpoint> files;   // Weights that were not copied lie in it.

  at::Device device() const { return embedding.device(); }
  int64_t routed_layer_count() const;  // Layers with routed experts.
};

// The MLP or the mixture of experts of one layer; x is normed. Differentiable.
// `routed` is as ApplyMoe() has it.
at::Tensor ApplyFeedForward(const at::Tensor& x, const DecoderLayer& layer, const Model& model,
                            const Adapter& adapter, std::span<int64_t> routed = {});

// The hidden states behind the last norm, [wanted, hidden], of some rows of a
// batch. Rows are wanted at most once. Differentiable with respect to the
// adapter, which, as the model, must outlive the derivative.
//
// `routed` is empty, or has a counter for each expert of each layer with routed
// experts, layer by layer, to which the rows that the router sends there are
// added. The last layer routes only the wanted rows.
//
// Of the first `recomputed_layers`, or all if there are not as many, the inputs alone
// are kept for the derivative, which computes the rest once more (Recomputed()).
at::Tensor HiddenStates(const Model& model, const Adapter& adapter, const PackedBatch& batch,
                        std::span<const int64_t> wanted_rows, std::span<int64_t> routed = {},
                        int64_t recomputed_layers = 0);

}  // namespace fedtune
