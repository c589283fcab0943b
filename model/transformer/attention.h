// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "ATen/core/Tensor.h"
#include "model/checkpoint/model_config.h"
#include "model/transformer/adapter.h"
#include "model/transformer/linear.h"
#include "model/transformer/packed_batch.h"

namespace fedtune {

// Multi-head latent attention (DeepSeek-V2, 2024). Queries come from q_proj, or
// from q_a_proj, a norm and q_b_proj.
struct MlaWeights {
  std::optional<Linear> q_proj;
  std::optional<Linear> q_a_proj;
  std::optional<Linear> q_b_proj;
  at::Tensor q_a_norm;
  Linear kv_a_proj;
  Linear kv_b_proj;
  at::Tensor kv_a_norm;
};

struct GqaWeights {
  Linear q_proj;
  Linear k_proj;
  Linear v_proj;
};

struct AttentionWeights {
  std::variant<MlaWeights, GqaWeights> heads;
  Linear o_proj;
};

struct AttentionShape {
  std::variant<MlaConfig, GqaConfig> config;
  int64_t heads = 0;
  double softmax_scale = 1;
  RotaryPairs pairs = RotaryPairs::kNeighbours;
};

AttentionShape AttentionShapeOf(const ModelConfig& config);

// What all layers of one forward pass share.
struct AttentionContext {
  AttentionPlan plan;
  at::Tensor rotations;  // Of each row.
};

// Attention of x, [rows, hidden], up to but without o_proj: [rows, heads * width
// of a value]. Weights and shape are of the same kind. Differentiable.
at::Tensor AttendedValues(const at::Tensor& x, const AttentionWeights& weights,
                          const AttentionShape& shape, const Adapter& adapter,
                          const AttentionContext& context);

}  // namespace fedtune
