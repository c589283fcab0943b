// SPDX-License-Identifier: Apache-2.0

#include <algorithm>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "ATen/ops/empty.h"
#include "ATen/ops/empty_like.h"
#include "model/transformer/attention_heads.h"
#include "model/transformer/differentiable.h"
#include "model/transformer/rms_norm.h"
#include "model/transformer/rotary.h"

namespace fedtune {
namespace {

// From what the first projection of queries gives.
at::Tensor Queries(const at::Tensor& latent, const MlaWeights& weights, const Adapter& adapter) {
  if (weights.q_proj) return latent;
  const at::Tensor normed = RmsNorm(latent, weights.q_a_norm, kLatentNormEpsilon);
  return ApplyLinear(normed, *weights.q_b_proj, adapter.Of(*weights.q_b_proj));
}

Heads Assembled(const LatentHeads& latent, const AttentionShape& shape,
                const at::Tensor& rotations) {
  const MlaConfig& mla = std::get<MlaConfig>(shape.config);
  const int64_t nope = mla.qk_nope_head_dim, rope = mla.qk_rope_head_dim;
  const int64_t rows = latent.q.size(0);
  const at::Tensor kv_heads = latent.kv.view({rows, shape.heads, nope + mla.v_head_dim});
  Heads heads;
  heads.q = latent.q.view({rows, shape.heads, mla.qk_head_dim()}).clone();
  RotateInPlace(heads.q.narrow(2, nope, rope), rotations, shape.pairs);
  at::Tensor shared = latent.rotary_key.unsqueeze(1).clone();
  RotateInPlace(shared, rotations, shape.pairs);
  heads.k = at::empty_like(heads.q);
  heads.k.narrow(2, 0, nope).copy_(kv_heads.narrow(2, 0, nope));
  heads.k.narrow(2, nope, rope).copy_(shared);
  heads.v = kv_heads.narrow(2, nope, mla.v_head_dim).clone(at::MemoryFormat::Contiguous);
  return heads;
}

// Gradients of what they were assembled from.
std::vector<at::Tensor> DisassembleGradients(const Heads& heads, const AttentionShape& shape,
                                             const at::Tensor& rotations) {
  const MlaConfig& mla = std::get<MlaConfig>(shape.config);
  const int64_t nope = mla.qk_nope_head_dim, rope = mla.qk_rope_head_dim;
  const int64_t rows = heads.q.size(0);
  const at::Tensor back = rotations.conj();
  at::Tensor q = heads.q.clone(at::MemoryFormat::Contiguous);
  RotateInPlace(q.narrow(2, nope, rope), back, shape.pairs);
  at::Tensor k_rope = heads.k.narrow(2, nope, rope).sum(1, /*keepdim=*/true);
  RotateInPlace(k_rope, back, shape.pairs);
  at::Tensor kv = at::empty({rows, shape.heads, nope + mla.v_head_dim}, heads.k.options());
  kv.narrow(2, 0, nope).copy_(heads.k.narrow(2, 0, nope));
  kv.narrow(2, nope, mla.v_head_dim).copy_(heads.v);
  return {q.view({rows, -1}), kv.view({rows, -1}), k_rope.squeeze(1)};
}

}  // namespace

MlaProjections ProjectMla(const at::Tensor& x, const MlaWeights& weights,
                          const AttentionShape& shape, const Adapter& adapter) {
  const MlaConfig& mla = std::get<MlaConfig>(shape.config);
  const Linear& q_proj = weights.q_proj ? *weights.q_proj : *weights.q_a_proj;
  const std::vector<at::Tensor> made = ApplyLinears(
      x, {{q_proj, adapter.Of(q_proj)}, {weights.kv_a_proj, adapter.Of(weights.kv_a_proj)}});
  const at::Tensor q = Queries(made[0], weights, adapter);
  const std::vector<at::Tensor> parts =
      made[1].split_with_sizes({mla.kv_lora_rank, mla.qk_rope_head_dim}, 1);
  return {q, RmsNorm(parts[0], weights.kv_a_norm, kLatentNormEpsilon), parts[1]};
}

LatentHeads MakeLatentHeads(const at::Tensor& x, const MlaWeights& weights,
                            const AttentionShape& shape, const Adapter& adapter) {
  const MlaProjections made = ProjectMla(x, weights, shape, adapter);
  return {made.q, ApplyLinear(made.latent, weights.kv_b_proj, adapter.Of(weights.kv_b_proj)),
          made.rotary_key};
}

Heads AssembleHeads(const LatentHeads& latent, const AttentionShape& shape,
                    const at::Tensor& rotations) {
  Heads heads;
  {
    at::NoGradGuard no_grad;
    heads = Assembled(latent, shape, rotations);
  }
  std::vector<at::Tensor> made = Differentiable(
      {heads.q, heads.k, heads.v}, {latent.q, latent.kv, latent.rotary_key},
      [shape, rotations](const std::vector<at::Tensor>& gradients) {
        return DisassembleGradients({gradients[0], gradients[1], gradients[2]}, shape, rotations);
      });
  return {made[0], made[1], made[2]};
}

}  // namespace fedtune
