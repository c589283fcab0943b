// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/stored_base_weights.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "fmt/format.h"
#include "model/checkpoint/float_conversion.h"
#include "model/checkpoint/model_config.h"

namespace fedtune {
namespace {

constexpr std::string_view kBaseLayer = ".base_layer.weight";
constexpr std::string_view kHead = "lm_head.weight";
constexpr std::string_view kEmbedding = "model.embed_tokens.weight";

// "lm_head.base_layer.weight" is the base model's "lm_head.weight".
std::string NameInBase(std::string_view name) {
  if (!name.ends_with(kBaseLayer)) return std::string(name);
  return fmt::format("{}.weight", name.substr(0, name.size() - kBaseLayer.size()));
}

// The weight of that name, or the one that it is tied to.
const TensorView* FindOwn(std::string_view name, const Checkpoint& base) {
  const std::string own = NameInBase(name);
  const TensorView* found = base.Find(own);
  if (found == nullptr && own == kHead) return base.Find(kEmbedding);
  return found == nullptr && own == kEmbedding ? base.Find(kHead) : found;
}

std::span<const std::byte> Part(const TensorView& tensor, size_t first, size_t count) {
  const auto width = static_cast<size_t>(BytesPerValue(tensor.type));
  return tensor.bytes.subspan(first * width, count * width);
}

bool AreEqual(const TensorView& stored, const TensorView& own) {
  constexpr size_t kAtOnce = 1 << 16;
  const auto size = static_cast<size_t>(stored.value_count());
  for (size_t first = 0; first < size; first += kAtOnce) {
    const size_t count = std::min(kAtOnce, size - first);
    std::vector<float> values(count);
    DecodeFloats(own.type, Part(own, first, count), values);
    const auto expected = Part(stored, first, count);
    std::vector<std::byte> rounded(expected.size());
    EncodeFloats(stored.type, values, rounded);
    if (!std::ranges::equal(rounded, expected)) return false;
  }
  return true;
}

}  // namespace

absl::Status CheckStoredBaseWeight(const TensorView& stored, std::string_view name,
                                   const Checkpoint& base) {
  const TensorView* own = FindOwn(name, base);
  if (own == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {} is neither a LoRA factor nor a weight of the base model {}",
                    stored.name, base.directory().string()));
  }
  if (own->shape == stored.shape && IsConvertibleToFloat(own->type) &&
      IsConvertibleToFloat(stored.type) && AreEqual(stored, *own)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("tensor {} is a weight of the base model, but differs from {} in {}; an adapter "
                  "that changes whole weights is not supported",
                  stored.name, own->name, base.directory().string()));
}

absl::Status CheckHeadIsItsOwn(const Checkpoint& base) {
  const absl::StatusOr<ModelConfig> config = ReadModelConfig(base.directory());
  const bool is_tied = base.Find(kHead) == nullptr || base.Find(kEmbedding) == nullptr ||
                       (config.ok() && config->tie_embeddings);
  if (!is_tied) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("lm_head is adapted, but in {} it is tied to the embedding, which merging would "
                  "change as well; save the base model with a head of its own "
                  "(tie_word_embeddings false, lm_head.weight a copy of {}) and adapt that",
                  base.directory().string(), kEmbedding));
}

}  // namespace fedtune
