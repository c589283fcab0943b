// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "model/transformer/adapter.h"
#include "model/transformer/attention.h"

namespace fedtune {

// The norms inside the latent projections have a fixed epsilon of their own.
inline constexpr double kLatentNormEpsilon = 1e-6;

// What meets in attention: [rows, heads, head size]. All heads have a key and a
// value of their own, and positions are in queries and keys.
struct Heads {
  at::Tensor q;
  at::Tensor k;
  at::Tensor v;
};

// What latent attention projects x, [rows, hidden], to. Differentiable.
struct MlaProjections {
  at::Tensor q;           // [rows, heads * (nope + rope)], not rotated.
  at::Tensor latent;      // [rows, kv_lora_rank], normed.
  at::Tensor rotary_key;  // [rows, rope], not rotated; all heads have this one.
};
MlaProjections ProjectMla(const at::Tensor& x, const MlaWeights& weights,
                          const AttentionShape& shape, const Adapter& adapter);

// What heads of latent attention are made of, before positions are in it. Differentiable.
struct LatentHeads {
  at::Tensor q;           // [rows, heads * (nope + rope)]
  at::Tensor kv;          // [rows, heads * (nope + width of a value)]
  at::Tensor rotary_key;  // [rows, rope]; all heads have this one.
};
LatentHeads MakeLatentHeads(const at::Tensor& x, const MlaWeights& weights,
                            const AttentionShape& shape, const Adapter& adapter);

// Its heads. Differentiable.
Heads AssembleHeads(const LatentHeads& latent, const AttentionShape& shape,
                    const at::Tensor& rotations);

// The heads of x, [rows, hidden]. Differentiable.
Heads MakeGqaHeads(const at::Tensor& x, const GqaWeights& weights, const AttentionShape& shape,
                   const Adapter& adapter, const at::Tensor& rotations);

}  // namespace fedtune
