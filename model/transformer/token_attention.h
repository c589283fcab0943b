// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/transformer/adapter.h"
#include "model/transformer/attention.h"
#include "model/transformer/decoder_caches.h"
#include "model/transformer/token_linear.h"

namespace fedtune {

// A layer's projections, for TokenAttention. Weights and adapter must outlive it.
struct TokenMla {
  std::optional<TokenLinear> q_proj, q_a_proj, q_b_proj;  // The first, or the others.
  TokenLinear kv_a_proj;
  const float* q_a_norm = nullptr;
  const float* kv_a_norm = nullptr;
};
struct TokenGqa {
  TokenLinear q_proj, k_proj, v_proj;
};
using TokenProjections = std::variant<TokenMla, TokenGqa>;

// None where there is no kernel for one of them.
std::optional<TokenProjections> TokenProjectionsOf(const AttentionWeights& weights,
                                                   const Adapter& adapter);

// The attention of one token behind others, on all threads of a CPU with matrix
// kernels. Keeps room for what it computes; not thread-safe.
class TokenAttention {
 public:
  // `frequencies` are fp32, of each pair of a rotary part, whose rotations are
  // multiplied by `magnitude`.
  TokenAttention(const AttentionShape& shape, const at::Tensor& frequencies, double magnitude,
                 int64_t capacity);

  // Where the token stands that Attend() is called for from now on.
  void SetPosition(int64_t position);

  // Puts the token into the cache and returns what its heads attend to, one behind
  // the other, valid until the next call. x is normed.
  const float* Attend(const float* x, const TokenProjections& projections, AttentionCache& cache);

 private:
  void Project(const float* x, const TokenMla& mla);
  void AttendLatent(const TokenMla& mla, LatentCache& cache);
  void AttendLatentHead(int64_t head, const LatentCache& cache);
  void AttendGroups(const float* x, const TokenGqa& gqa, HeadCache& cache);
  void AttendGroupHead(int64_t head, const HeadCache& cache);

  // Of the pairs of a rotary part.
  void Rotate(float* values) const;
  float* ScoresOf(int64_t head) { return scores_.data() + head * capacity_; }

  const AttentionShape shape_;
  const std::vector<float> frequencies_;
  const float magnitude_;
  const int64_t capacity_;
  int64_t position_ = 0;
  std::vector<float> cosines_, sines_;  // Of the position.
  LinearsTogether linears_;
  std::vector<float> q_, low_q_, compressed_;  // As they are projected.
  std::vector<float> scores_;                  // Of each head.
  std::vector<float> latents_;                 // Of each head: first a query, then a value.
  std::vector<float> values_;
};

}  // namespace fedtune
