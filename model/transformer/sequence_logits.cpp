// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/sequence_logits.h"

#include <algorithm>
#include <numeric>

#include "ATen/core/grad_mode.h"

namespace fedtune {

std::vector<std::vector<float>> SequenceLogits(const Model& model, const Adapter& adapter,
                                               std::span<const std::vector<int32_t>> sequences) {
  at::NoGradGuard no_grad;
  PackedBatch batch;
  for (const std::vector<int32_t>& tokens : sequences) batch.Add(tokens);
  std::vector<int64_t> all(static_cast<size_t>(batch.rows()));
  std::iota(all.begin(), all.end(), 0);
  const at::Tensor logits =
      LinearForward(HiddenStates(model, adapter, batch, all), model.head, adapter.Of(model.head))
          .to(at::kCPU, at::kFloat);
  std::vector<std::vector<float>> of_sequences;
  const float* next = logits.const_data_ptr<float>();
  for (const std::vector<int32_t>& tokens : sequences) {
    const auto count = static_cast<int64_t>(tokens.size()) * logits.size(1);
    of_sequences.emplace_back(next, next + count);
    next += count;
  }
  return of_sequences;
}

}  // namespace fedtune
