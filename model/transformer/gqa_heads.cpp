// SPDX-License-Identifier: Apache-2.0

#include <vector>

#include "ATen/core/grad_mode.h"
#include "model/transformer/attention_heads.h"
#include "model/transformer/differentiable.h"
#include "model/transformer/rotary.h"

namespace fedtune {
namespace {

// [rows, heads * size] as [rows, heads, size], a copy that may be rotated.
at::Tensor InHeads(const at::Tensor& x, int64_t size) {
  return x.view({x.size(0), -1, size}).clone();
}

// Every head `times` times, side by side.
at::Tensor Repeated(const at::Tensor& x, int64_t times) {
  return times == 1 ? x : x.repeat_interleave(times, 1);
}

// The reverse for gradients: the sum over what was one head.
at::Tensor Summed(const at::Tensor& gradient, int64_t times) {
  if (times == 1) return gradient;
  return gradient.view({gradient.size(0), -1, times, gradient.size(2)}).sum(2);
}

Heads AssembleHeads(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const AttentionShape& shape, const at::Tensor& rotations) {
  const GqaConfig& gqa = std::get<GqaConfig>(shape.config);
  const int64_t times = shape.heads / gqa.key_value_head_count;
  Heads heads = {InHeads(q, gqa.head_dim), InHeads(k, gqa.head_dim), InHeads(v, gqa.head_dim)};
  RotateInPlace(heads.q, rotations, shape.pairs);
  RotateInPlace(heads.k, rotations, shape.pairs);
  heads.k = Repeated(heads.k, times);
  heads.v = Repeated(heads.v, times);
  return heads;
}

// Gradients of AssembleHeads()'s q, k and v.
std::vector<at::Tensor> DisassembleGradients(const Heads& heads, const AttentionShape& shape,
                                             const at::Tensor& rotations) {
  const GqaConfig& gqa = std::get<GqaConfig>(shape.config);
  const int64_t rows = heads.q.size(0), times = shape.heads / gqa.key_value_head_count;
  const at::Tensor back = rotations.conj();
  at::Tensor q = heads.q.clone(at::MemoryFormat::Contiguous);
  RotateInPlace(q, back, shape.pairs);
  at::Tensor k = Summed(heads.k.clone(at::MemoryFormat::Contiguous), times);
  RotateInPlace(k, back, shape.pairs);
  const at::Tensor v = Summed(heads.v.contiguous(), times);
  return {q.view({rows, -1}), k.view({rows, -1}), v.reshape({rows, -1})};
}

}  // namespace

Heads MakeGqaHeads(const at::Tensor& x, const GqaWeights& weights, const AttentionShape& shape,
                   const Adapter& adapter, const at::Tensor& rotations) {
  const std::vector<at::Tensor> projected =
      ApplyLinears(x, {{weights.q_proj, adapter.Of(weights.q_proj)},
                       {weights.k_proj, adapter.Of(weights.k_proj)},
                       {weights.v_proj, adapter.Of(weights.v_proj)}});
  const at::Tensor &q = projected[0], &k = projected[1], &v = projected[2];
  Heads heads;
  {
    at::NoGradGuard no_grad;
    heads = AssembleHeads(q, k, v, shape, rotations);
  }
  std::vector<at::Tensor> made = Differentiable(
      {heads.q, heads.k, heads.v}, {q, k, v},
      [shape, rotations](const std::vector<at::Tensor>& gradients) {
        return DisassembleGradients({gradients[0], gradients[1], gradients[2]}, shape, rotations);
      });
  return {made[0], made[1], made[2]};
}

}  // namespace fedtune
