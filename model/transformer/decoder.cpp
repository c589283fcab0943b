// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/decoder.h"

#include <algorithm>
#include <limits>

#include "ATen/TensorOperators.h"
#include "ATen/core/grad_mode.h"
#include "ATen/ops/arange.h"
#include "ATen/ops/bmm.h"
#include "ATen/ops/embedding.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/from_blob.h"
#include "ATen/ops/matmul.h"
#include "ATen/ops/mm.h"
#include "ATen/ops/softmax.h"
#include "base/check.h"
#include "base/overloaded.h"
#include "model/transformer/attention_heads.h"
#include "model/transformer/rms_norm.h"
#include "model/transformer/rotary.h"

namespace fedtune {
namespace {

// Tokens that go through the model at once: a long prompt's scores stay small.
constexpr size_t kPieceTokens = 256;

at::Tensor InHeads(const at::Tensor& x, int64_t heads) { return x.view({x.size(0), heads, -1}); }

// The whole weight of a layer: with its factors in `type`, without any as it is stored.
at::Tensor Adapted(const Linear& linear, const Adapter& adapter, at::ScalarType type) {
  const LoraFactors& lora = adapter.Of(linear);
  if (!lora.defined()) return linear.weight;
  return linear.weight.to(type) + (lora.scale * at::mm(lora.b, lora.a)).to(type);
}

}  // namespace

Decoder::Decoder(const Model& model, const Adapter& adapter, int64_t capacity)
    : model_(model),
      adapter_(adapter),
      shape_(AttentionShapeOf(model.config)),
      capacity_(capacity),
      token_pass_(TokenPass::Create(model, adapter, capacity)) {
  const at::NoGradGuard no_grad;
  for (const DecoderLayer& layer : model.layers) {
    std::visit([&](const auto& weights) { caches_.emplace_back(MakeCache(weights)); },
               layer.attention.heads);
  }
}

LatentCache Decoder::MakeCache(const MlaWeights& weights) const {
  const MlaConfig& mla = std::get<MlaConfig>(shape_.config);
  const auto options = at::TensorOptions(model_.compute_type).device(model_.device());
  const at::Tensor up = Adapted(weights.kv_b_proj, adapter_, model_.compute_type)
                            .view({shape_.heads, -1, mla.kv_lora_rank});
  return {at::empty({capacity_, mla.kv_lora_rank}, options),
          at::empty({capacity_, mla.qk_rope_head_dim}, options), up};
}

HeadCache Decoder::MakeCache(const GqaWeights& /*weights*/) const {
  const GqaConfig& gqa = std::get<GqaConfig>(shape_.config);
  const auto options = at::TensorOptions(model_.compute_type).device(model_.device());
  const std::vector<int64_t> size = {gqa.key_value_head_count, capacity_, gqa.head_dim};
  return {at::empty(size, options), at::empty(size, options)};
}

at::Tensor Decoder::Shares(const at::Tensor& scores) const {
  at::Tensor compared = scores.to(at::kFloat) * shape_.softmax_scale;
  const int64_t tokens = scores.size(1), so_far = scores.size(2);
  if (tokens > 1) {
    const auto options = at::TensorOptions(at::kLong).device(scores.device());
    const at::Tensor reader = at::arange(length_, length_ + tokens, options).unsqueeze(1);
    const at::Tensor later = at::arange(so_far, options).unsqueeze(0) > reader;
    compared.masked_fill_(later, -std::numeric_limits<double>::infinity());
  }
  return at::softmax(compared, 2).to(model_.compute_type);
}

at::Tensor Decoder::Attend(const at::Tensor& x, const MlaWeights& weights,
                           const at::Tensor& rotations, LatentCache& cache) const {
  const MlaConfig& mla = std::get<MlaConfig>(shape_.config);
  const MlaProjections made = ProjectMla(x, weights, shape_, adapter_);
  const int64_t tokens = x.size(0), so_far = length_ + tokens;
  at::Tensor rotary_key = made.rotary_key.unsqueeze(1).clone();
  RotateInPlace(rotary_key, rotations, shape_.pairs);
  cache.latents.narrow(0, length_, tokens).copy_(made.latent);
  cache.rotary_keys.narrow(0, length_, tokens).copy_(rotary_key.squeeze(1));

  const at::Tensor q = InHeads(made.q, shape_.heads).clone();
  RotateInPlace(q.narrow(2, mla.qk_nope_head_dim, mla.qk_rope_head_dim), rotations, shape_.pairs);
  const at::Tensor by_head = q.transpose(0, 1);  // [heads, tokens, nope + rope]
  const at::Tensor latents = cache.latents.narrow(0, 0, so_far);
  const at::Tensor rotary_keys = cache.rotary_keys.narrow(0, 0, so_far);
  const at::Tensor up = cache.up.to(model_.compute_type);
  const at::Tensor key_up = up.narrow(1, 0, mla.qk_nope_head_dim);
  const at::Tensor value_up = up.narrow(1, mla.qk_nope_head_dim, mla.v_head_dim).transpose(1, 2);
  const at::Tensor q_latent = at::bmm(by_head.narrow(2, 0, mla.qk_nope_head_dim), key_up);
  const at::Tensor q_rotary = by_head.narrow(2, mla.qk_nope_head_dim, mla.qk_rope_head_dim);
  const at::Tensor scores =
      at::matmul(q_latent, latents.t()) + at::matmul(q_rotary, rotary_keys.t());
  const at::Tensor seen = at::matmul(Shares(scores), latents);
  return at::bmm(seen, value_up).transpose(0, 1).reshape({tokens, -1});
}

at::Tensor Decoder::Attend(const at::Tensor& x, const GqaWeights& weights,
                           const at::Tensor& rotations, HeadCache& cache) const {
  const GqaConfig& gqa = std::get<GqaConfig>(shape_.config);
  const int64_t tokens = x.size(0), so_far = length_ + tokens, groups = gqa.key_value_head_count;
  const auto project = [&](const Linear& linear, int64_t heads) {
    return InHeads(ApplyLinear(x, linear, adapter_.Of(linear)), heads);
  };
  at::Tensor q = project(weights.q_proj, shape_.heads), k = project(weights.k_proj, groups);
  RotateInPlace(q, rotations, shape_.pairs);
  RotateInPlace(k, rotations, shape_.pairs);
  cache.keys.narrow(1, length_, tokens).copy_(k.transpose(0, 1));
  cache.values.narrow(1, length_, tokens).copy_(project(weights.v_proj, groups).transpose(0, 1));

  // The heads that share keys, one behind the other: [groups, heads of one, tokens, size].
  const at::Tensor by_group = q.view({tokens, groups, -1, gqa.head_dim}).permute({1, 2, 0, 3});
  const at::Tensor keys = cache.keys.narrow(1, 0, so_far).unsqueeze(1);
  const at::Tensor values = cache.values.narrow(1, 0, so_far).unsqueeze(1);
  const at::Tensor scores = at::matmul(by_group, keys.transpose(2, 3));
  const at::Tensor shares = Shares(scores.flatten(0, 1)).view_as(scores);
  return at::matmul(shares, values).permute({2, 0, 1, 3}).reshape({tokens, -1});
}

at::Tensor Decoder::AppendPiece(std::span<const int32_t> tokens) {
  const auto count = static_cast<int64_t>(tokens.size());
  const at::Device device = model_.device();
  const at::Tensor ids =
      at::from_blob(const_cast<int32_t*>(tokens.data()), {count}, at::kInt).to(device, at::kLong);
  const at::Tensor positions =
      at::arange(length_, length_ + count, at::TensorOptions(at::kLong).device(device));
  const at::Tensor rotations =
      Rotations(positions, model_.rotary_frequencies, model_.config.rope.Magnitude());
  const double epsilon = model_.config.rms_norm_epsilon;
  at::Tensor x = at::embedding(model_.embedding, ids).to(model_.compute_type);
  for (size_t i = 0; i < model_.layers.size(); ++i) {
    const DecoderLayer& layer = model_.layers[i];
    const at::Tensor normed = RmsNorm(x, layer.attention_norm, epsilon);
    const at::Tensor values = std::visit(
        Overloaded{[&](const MlaWeights& mla) {
                     return Attend(normed, mla, rotations, std::get<LatentCache>(caches_[i]));
                   },
                   [&](const GqaWeights& gqa) {
                     return Attend(normed, gqa, rotations, std::get<HeadCache>(caches_[i]));
                   }},
        layer.attention.heads);
    const Linear& o_proj = layer.attention.o_proj;
    x = x + ApplyLinear(values, o_proj, adapter_.Of(o_proj));
    x = x + ApplyFeedForward(RmsNorm(x, layer.mlp_norm, epsilon), layer, model_, adapter_);
  }
  length_ += count;
  return x.narrow(0, count - 1, 1);
}

at::Tensor Decoder::Logits(const at::Tensor& last) {
  if (!HasTokenPass()) {
    const at::Tensor normed = RmsNorm(last, model_.norm, model_.config.rms_norm_epsilon);
    return LinearForward(normed, model_.head, adapter_.Of(model_.head))
        .squeeze(0)
        .to(at::kCPU, at::kFloat);
  }
  at::Tensor logits = at::empty({model_.config.vocabulary_size}, at::kFloat);
  token_pass_->MakeLogits(last.const_data_ptr<float>(), logits.mutable_data_ptr<float>());
  return logits;
}

at::Tensor Decoder::AppendToken(int32_t token) {
  at::Tensor logits = at::empty({model_.config.vocabulary_size}, at::kFloat);
  token_pass_->Read(token, length_, caches_, logits.mutable_data_ptr<float>());
  ++length_;
  return logits;
}

at::Tensor Decoder::Append(std::span<const int32_t> tokens) {
  Check(!tokens.empty() && std::ssize(tokens) <= capacity_ - length_,
        "at least one token, and room for all");
  const at::NoGradGuard no_grad;
  if (tokens.size() == 1 && HasTokenPass()) return AppendToken(tokens[0]);
  at::Tensor last;
  while (!tokens.empty()) {
    const auto piece = tokens.first(std::min(tokens.size(), kPieceTokens));
    last = AppendPiece(piece);
    tokens = tokens.subspan(piece.size());
  }
  return Logits(last);
}

}  // namespace fedtune
