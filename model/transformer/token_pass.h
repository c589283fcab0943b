// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "model/transformer/adapter.h"
#include "model/transformer/decoder_caches.h"
#include "model/transformer/model.h"
#include "model/transformer/token_attention.h"
#include "model/transformer/token_linear.h"
#include "model/transformer/token_router.h"

namespace fedtune {

// The way of one token through a model that is computed in fp32, on all threads of a
// CPU with matrix kernels. That costs the reading of the weights that the token meets:
// each is read once, as it lies in memory, and of routed experts only the token's own.
// Room for everything else is made at once. Not thread-safe.
class TokenPass {
 public:
  // For texts of up to `capacity` tokens. Model and adapter must outlive it. Null where
  // there are no kernels for the CPU or the weights. There is no dropout.
  static std::unique_ptr<TokenPass> Create(const Model& model, const Adapter& adapter,
                                           int64_t capacity);

  // Reads the token at `position`, behind those in the caches, one for each layer, and
  // writes the logits behind it, as many as the vocabulary has.
  void Read(int32_t token, int64_t position, std::span<AttentionCache> caches, float* logits);

  // The logits of a row that has gone through all layers.
  void MakeLogits(const float* row, float* logits);

 private:
  struct Mlp {
    TokenLinear gate, up, down;
  };
  struct Moe {
    TokenLinear router;
    std::span<const float> bias;
    std::vector<Mlp> experts;
    std::optional<Mlp> shared;
  };
  struct Layer {
    const float* attention_norm;
    TokenProjections projections;
    TokenLinear o_proj;
    const float* mlp_norm;
    std::variant<Mlp, Moe> mlp;
  };
  // An MLP that the token goes through, and how much of it is added to x.
  struct Branch {
    const Mlp* mlp;
    float weight;
  };

  TokenPass(const Model& model, const Adapter& adapter, int64_t capacity);

  static std::optional<Mlp> MlpOf(const MlpWeights& weights, const Adapter& adapter);
  static std::optional<Moe> MoeOf(const MoeWeights& weights, const Adapter& adapter);
  static std::optional<Layer> LayerOf(const DecoderLayer& layer, const Adapter& adapter);

  void Norm(const float* weight);  // From x_ to normed_.
  void ApplyAttention(const Layer& layer, AttentionCache& cache);
  void ApplyFeedForward(const Layer& layer);
  void ChooseBranches(const Moe& moe);
  void ApplyBranches(size_t with_inner);

  // Room for the inner values of a branch, and for what comes out of it.
  void AddInner(size_t branch);
  float* InnerOf(size_t branch) {
    return inner_.data() + static_cast<int64_t>(branch) * 2 * width_;
  }
  float* OuterOf(size_t branch) { return outer_.data() + static_cast<int64_t>(branch) * hidden_; }

  const Model& model_;
  const int64_t hidden_;
  int64_t width_ = 0;  // Of the widest MLP.
  WeightRows embedding_;
  std::vector<Layer> layers_;
  TokenLinear head_;
  TokenAttention attention_;
  TokenRouter router_;
  LinearsTogether linears_;
  std::vector<Branch> branches_;
  std::vector<float> x_, normed_;
  std::vector<float> scores_;         // Of the router.
  std::vector<float> inner_, outer_;  // Of each branch.
};

}  // namespace fedtune
