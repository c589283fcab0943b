// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/token_pass.h"

#include <algorithm>
#include <utility>

#include "model/transformer/vector_kernels.h"

namespace fedtune {

std::optional<TokenPass::Mlp> TokenPass::MlpOf(const MlpWeights& weights, const Adapter& adapter) {
  const auto gate = TokenLinear::Of(weights.gate_proj, adapter);
  const auto up = TokenLinear::Of(weights.up_proj, adapter);
  const auto down = TokenLinear::Of(weights.down_proj, adapter);
  if (!gate || !up || !down) return std::nullopt;
  return Mlp{*gate, *up, *down};
}

std::optional<TokenPass::Moe> TokenPass::MoeOf(const MoeWeights& weights, const Adapter& adapter) {
  const auto router = TokenLinear::Of(weights.gate, adapter);
  if (!router) return std::nullopt;
  Moe moe = {.router = *router, .bias = {}, .experts = {}, .shared = {}};
  if (weights.choice_bias.defined()) {
    moe.bias = {weights.choice_bias.const_data_ptr<float>(),
                static_cast<size_t>(weights.choice_bias.numel())};
  }
  for (const MlpWeights& expert : weights.experts) {
    const auto mlp = MlpOf(expert, adapter);
    if (!mlp) return std::nullopt;
    moe.experts.push_back(*mlp);
  }
  if (!weights.shared) return moe;
  moe.shared = MlpOf(*weights.shared, adapter);
  return moe.shared ? std::optional(std::move(moe)) : std::nullopt;
}

std::optional<TokenPass::Layer> TokenPass::LayerOf(const DecoderLayer& layer,
                                                   const Adapter& adapter) {
  const auto projections = TokenProjectionsOf(layer.attention, adapter);
  const auto o_proj = TokenLinear::Of(layer.attention.o_proj, adapter);
  if (!projections || !o_proj) return std::nullopt;
  std::optional<std::variant<Mlp, Moe>> mlp;
  if (const auto* dense = std::get_if<MlpWeights>(&layer.mlp)) {
    mlp = MlpOf(*dense, adapter);
  } else {
    mlp = MoeOf(std::get<MoeWeights>(layer.mlp), adapter);
  }
  if (!mlp) return std::nullopt;
  return Layer{layer.attention_norm.const_data_ptr<float>(), *projections, *o_proj,
               layer.mlp_norm.const_data_ptr<float>(), *std::move(mlp)};
}

TokenPass::TokenPass(const Model& model, const Adapter& adapter, int64_t capacity)
    : model_(model),
      hidden_(model.config.hidden_size),
      embedding_(*WeightRowsOf(model.embedding)),
      head_(*TokenLinear::Of(model.head, adapter)),
      attention_(AttentionShapeOf(model.config), model.rotary_frequencies,
                 model.config.rope.Magnitude(), capacity),
      router_(model.config.moe),
      x_(static_cast<size_t>(hidden_)),
      normed_(x_.size()),
      scores_(static_cast<size_t>(model.config.moe.routed_expert_count)) {
  const MoeConfig& moe = model.config.moe;
  width_ = std::max(
      {model.config.dense_width, moe.expert_width, moe.expert_width * moe.shared_expert_count});
  const auto branches = static_cast<size_t>(moe.experts_per_token + 1);
  inner_.resize(branches * static_cast<size_t>(2 * width_));
  outer_.resize(branches * x_.size());
}

std::unique_ptr<TokenPass> TokenPass::Create(const Model& model, const Adapter& adapter,
                                             int64_t capacity) {
  if (model.compute_type != at::kFloat || !WeightRowsOf(model.embedding) ||
      !TokenLinear::Of(model.head, adapter)) {
    return nullptr;
  }
  std::unique_ptr<TokenPass> pass(new TokenPass(model, adapter, capacity));
  for (const DecoderLayer& layer : model.layers) {
    std::optional<Layer> made = LayerOf(layer, adapter);
    if (!made) return nullptr;
    pass->layers_.push_back(*std::move(made));
  }
  return pass;
}

void TokenPass::Norm(const float* weight) {
  RmsNormRow(x_.data(), weight, model_.config.rms_norm_epsilon, hidden_, normed_.data());
}

void TokenPass::ApplyAttention(const Layer& layer, AttentionCache& cache) {
  Norm(layer.attention_norm);
  const float* values = attention_.Attend(normed_.data(), layer.projections, cache);
  linears_.Add(layer.o_proj, values, normed_.data());
  linears_.Run();
  AddScaled(normed_.data(), 1, hidden_, x_.data());
}

void TokenPass::AddInner(size_t branch) {
  const Mlp& mlp = *branches_[branch].mlp;
  linears_.Add(mlp.gate, normed_.data(), InnerOf(branch));
  linears_.Add(mlp.up, normed_.data(), InnerOf(branch) + width_);
}

// Routers and shared experts begin together.
void TokenPass::ChooseBranches(const Moe& moe) {
  if (moe.shared) {
    branches_.push_back({&*moe.shared, 1});
    AddInner(0);
  }
  linears_.Add(moe.router, normed_.data(), scores_.data());
  linears_.Run();
  for (const TokenRouter::Choice& choice : router_.Choose(scores_, moe.bias)) {
    branches_.push_back({&moe.experts[static_cast<size_t>(choice.expert)], choice.weight});
  }
}

// The branches, of which the first have their inner values.
void TokenPass::ApplyBranches(size_t with_inner) {
  for (size_t i = with_inner; i < branches_.size(); ++i) AddInner(i);
  linears_.Run();
  for (size_t i = 0; i < branches_.size(); ++i) {
    const TokenLinear& down = branches_[i].mlp->down;
    float* inner = InnerOf(i);
    SwiGlu(inner, inner + width_, down.weight.columns, inner);
    linears_.Add(down, inner, OuterOf(i));
  }
  linears_.Run();
  for (size_t i = 0; i < branches_.size(); ++i) {
    AddScaled(OuterOf(i), branches_[i].weight, hidden_, x_.data());
  }
}

void TokenPass::ApplyFeedForward(const Layer& layer) {
  Norm(layer.mlp_norm);
  branches_.clear();
  if (const auto* dense = std::get_if<Mlp>(&layer.mlp)) {
    branches_.push_back({dense, 1});
    return ApplyBranches(/*with_inner=*/0);
  }
  const Moe& moe = std::get<Moe>(layer.mlp);
  ChooseBranches(moe);
  ApplyBranches(/*with_inner=*/moe.shared ? 1 : 0);
}

void TokenPass::MakeLogits(const float* row, float* logits) {
  RmsNormRow(row, model_.norm.const_data_ptr<float>(), model_.config.rms_norm_epsilon, hidden_,
             normed_.data());
  linears_.Add(head_, normed_.data(), logits);
  linears_.Run();
}

void TokenPass::Read(int32_t token, int64_t position, std::span<AttentionCache> caches,
                     float* logits) {
  constexpr float kOnce = 1;
  std::fill(x_.begin(), x_.end(), 0.0F);
  AddRows(embedding_.From(token), 1, &kOnce, x_.data());
  attention_.SetPosition(position);
  for (size_t i = 0; i < layers_.size(); ++i) {
    ApplyAttention(layers_[i], caches[i]);
    ApplyFeedForward(layers_[i]);
  }
  MakeLogits(x_.data(), logits);
}

}  // namespace fedtune
