// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ATen/core/Tensor.h"
#include "model/transformer/linear.h"

namespace fedtune {

// Which tokens are predicted from which hidden states.
struct Predictions {
  std::vector<int64_t> rows;  // Of the hidden states; ascending, with repeats.
  std::vector<int64_t> tokens;

  size_t size() const { return rows.size(); }
};

// The negative log-likelihood of each predicted token, in fp32 on the CPU. Not
// differentiable. The logits of a few rows at a time are in memory, never all.
std::vector<float> TokenLosses(const at::Tensor& hidden, const Linear& head,
                               const LoraFactors& lora, const Predictions& predictions);

// The sum of the negative log-likelihoods of targets[i] given hidden[i], a
// scalar. Differentiable with respect to hidden and the factors: the gradients
// are computed along with the loss, a few rows at a time.
at::Tensor TokenLossSum(const at::Tensor& hidden, const Linear& head, const LoraFactors& lora,
                        std::span<const int64_t> targets);

}  // namespace fedtune
