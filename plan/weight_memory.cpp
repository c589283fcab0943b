// SPDX-License-Identifier: Apache-2.0

#include "plan/weight_memory.h"

#include <algorithm>

#include "model/checkpoint/widened_weights.h"

namespace fedtune {
namespace {

bool HasHead(const BaseModelDescription& model) {
  return std::any_of(model.linear_layers.begin(), model.linear_layers.end(),
                     [](const LinearLayer& layer) { return layer.kind == LayerKind::kHead; });
}

bool IsFp32(const BaseModelDescription& model) {
  return model.weight_bytes >= 4 * model.parameter_count;
}

// Whether weights are computed with where they lie in the files.
bool StaysInFiles(const BaseModelDescription& model, ComputeType type) {
  if (model.parameter_count > kMaxWidenedParameters || IsFp32(model)) return true;
  return type != ComputeType::kFp32Widened && StaysBf16(model);
}

}  // namespace

bool StaysBf16(const BaseModelDescription& model) {
  const bool is_bf16 = !model.has_fp16 && model.weight_bytes >= 2 * model.parameter_count &&
                       model.weight_bytes < 4 * model.parameter_count;
  return is_bf16 && model.parameter_count >= kMaxExactParameters;
}

// Weights in bf16 of a model that is not small stay as they are on a CPU with AVX-512;
// others are widened, unless the model is very large. FP8 always is, then to bf16.
int64_t WeightBytes(const BaseModelDescription& model, ComputeType type) {
  const int64_t as_bf16 = 2 * model.parameter_count, widened = 2 * as_bf16;
  if (type == ComputeType::kBf16) return as_bf16;
  if (model.parameter_count > kMaxWidenedParameters) {
    const int64_t in_fp8 = std::max<int64_t>(0, as_bf16 - model.weight_bytes);
    return model.weight_bytes + 2 * in_fp8;
  }
  if (IsFp32(model)) return widened;
  return StaysInFiles(model, type) ? model.weight_bytes : widened + model.weight_bytes;
}

int64_t EmbeddingRowBytes(const BaseModelDescription& model) {
  return (IsFp32(model) ? 4 : 2) * model.hidden_size;  // FP8 is for linear layers.
}

int64_t ReturnedEmbeddingBytes(const BaseModelDescription& model, ComputeType type,
                               int64_t embedding_pieces) {
  const int64_t row = EmbeddingRowBytes(model);
  if (type == ComputeType::kBf16 || !HasHead(model) || row == 0) return 0;
  const int64_t most = std::min(model.weight_bytes, WeightBytes(model, type));
  const int64_t all = std::min(model.vocabulary_size, most / row) * row;
  if (!StaysInFiles(model, type)) return all;
  const int64_t used = std::min(embedding_pieces, all / kEmbeddingPieceBytes + 1);
  return std::max<int64_t>(0, all - used * kEmbeddingPieceBytes);
}

}  // namespace fedtune
