// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/transformer/adapter.h"
#include "model/transformer/decoder_caches.h"
#include "model/transformer/model.h"
#include "model/transformer/token_pass.h"

namespace fedtune {

// Reads a text token by token and keeps what later tokens will look at, so that each
// costs what one token costs. With latent attention that is the latent and the rotary
// part of a key, as narrow as the model makes them, and not keys and values of all
// heads: keys are never made, since q (W c) = (W^T q) c for a latent c (DeepSeek-V2,
// 2024, section 2.1.2).
//
//   Decoder decoder(model, adapter, /*capacity=*/prompt.size() + 100);
//   at::Tensor logits = decoder.Append(prompt);
//   logits = decoder.Append({{token}});
//
// Not differentiable, not thread-safe. Model and adapter must outlive it.
class Decoder {
 public:
  // At most `capacity` tokens, for which room is made at once.
  Decoder(const Model& model, const Adapter& adapter, int64_t capacity);
  Decoder(const Model& model, Adapter&& adapter, int64_t capacity) = delete;

  // Reads tokens, at least one and no more than there is room for. Returns the logits
  // behind the last of them, [vocabulary], fp32 on the CPU.
  at::Tensor Append(std::span<const int32_t> tokens);

  int64_t length() const { return length_; }
  int64_t capacity() const { return capacity_; }

 private:
  LatentCache MakeCache(const MlaWeights& weights) const;
  HeadCache MakeCache(const GqaWeights& weights) const;

  // The values that the heads of one layer attend to, [tokens, heads * width].
  at::Tensor Attend(const at::Tensor& x, const MlaWeights& weights, const at::Tensor& rotations,
                    LatentCache& cache) const;
  at::Tensor Attend(const at::Tensor& x, const GqaWeights& weights, const at::Tensor& rotations,
                    HeadCache& cache) const;

  // Returns what the last layer makes of the last token, [1, hidden].
  at::Tensor AppendPiece(std::span<const int32_t> tokens);
  at::Tensor Logits(const at::Tensor& last);
  at::Tensor AppendToken(int32_t token);

  bool HasTokenPass() const { return token_pass_ != nullptr && !adapter_.drops_inputs(); }

  // Softmax over the tokens so far of scores, [groups, tokens, so far]; none sees a
  // later one.
  at::Tensor Shares(const at::Tensor& scores) const;

  const Model& model_;
  const Adapter& adapter_;
  const AttentionShape shape_;
  const int64_t capacity_;
  int64_t length_ = 0;
  std::vector<AttentionCache> caches_;           // By layer.
  const std::unique_ptr<TokenPass> token_pass_;  // Where there are kernels for it.
};

}  // namespace fedtune
