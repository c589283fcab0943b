// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <variant>

#include "ATen/core/Tensor.h"

namespace fedtune {

// What one layer keeps of the tokens that a Decoder has read, in the type that the
// model computes in.

struct LatentCache {
  at::Tensor latents;      // [capacity, kv_lora_rank]
  at::Tensor rotary_keys;  // [capacity, qk_rope_head_dim]

  // kv_b_proj with its factors, [heads, nope + v_head_dim, kv_lora_rank]: the weight
  // as it is stored where there are none.
  at::Tensor up;
};

struct HeadCache {
  at::Tensor keys;    // [key heads, capacity, head_dim]
  at::Tensor values;  // The same.
};

using AttentionCache = std::variant<LatentCache, HeadCache>;

}  // namespace fedtune
