// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/one_model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>

#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/float_conversion.h"

namespace fedtune {
namespace {

constexpr std::string_view kLayers = "model.layers.";
constexpr std::string_view kHead = "lm_head.weight";
constexpr std::string_view kEmbedding = "model.embed_tokens.weight";
constexpr std::string_view kFinalNorm = "model.norm.weight";

absl::Status Contradiction(const Checkpoint& checkpoint, std::string_view tensor,
                           std::string_view field) {
  return absl::InvalidArgumentError(
      fmt::format("{}: config.json says {}, but there is a tensor {}; the weights and the "
                  "configuration are not of one model",
                  checkpoint.directory().string(), field, tensor));
}

// Of "model.layers.12.mlp.gate.weight" 12.
std::optional<int64_t> LayerOf(std::string_view stored) {
  const std::string name = UsualName(stored);
  if (!name.starts_with(kLayers)) return std::nullopt;
  std::string_view tensor = std::string_view(name).substr(kLayers.size());
  tensor = tensor.substr(0, tensor.find('.'));
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(tensor.begin(), tensor.end(), layer);
  if (error != std::errc() || end != tensor.end()) return std::nullopt;
  return layer;
}

absl::Status CheckLayerCount(const ModelConfig& config, const Checkpoint& checkpoint) {
  for (const SafetensorsFile& shard : checkpoint.shards()) {
    for (const TensorView& tensor : shard.tensors()) {
      const std::optional<int64_t> layer = LayerOf(tensor.name);
      if (!layer || *layer < config.layer_count + config.prediction_layers) continue;
      return Contradiction(checkpoint, tensor.name,
                           fmt::format("num_hidden_layers is {}", config.layer_count));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckBiases(const ModelConfig& config, const Checkpoint& checkpoint) {
  for (const LinearLayer& layer : LinearLayers(config)) {
    const TensorView* bias = checkpoint.Find(layer.name + ".bias");
    if (bias == nullptr || layer.has_bias) continue;
    return Contradiction(checkpoint, bias->name, "nothing of a bias there");
  }
  return absl::OkStatus();
}

absl::Status CheckSharedExperts(const ModelConfig& config, const Checkpoint& checkpoint) {
  if (config.moe.shared_expert_count > 0) return absl::OkStatus();
  for (int64_t layer = 0; layer < config.layer_count; ++layer) {
    const TensorView* shared =
        checkpoint.Find(fmt::format("{}{}.mlp.shared_experts.up_proj.weight", kLayers, layer));
    if (shared == nullptr || shared->bytes.empty()) continue;
    return Contradiction(checkpoint, shared->name, "nothing of n_shared_experts");
  }
  return absl::OkStatus();
}

// transformers holds experts so in memory, and so does what is saved without its
// save_pretrained().
absl::Status CheckExpertsAreSingle(const ModelConfig& config, const Checkpoint& checkpoint) {
  for (int64_t layer = 0; layer < config.layer_count; ++layer) {
    const TensorView* fused =
        checkpoint.Find(fmt::format("{}{}.mlp.experts.gate_up_proj", kLayers, layer));
    if (fused == nullptr) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}: tensor {} has all experts of a layer, which must be stored one by one; "
                    "transformers' from_pretrained() and save_pretrained() make it so",
                    checkpoint.directory().string(), fused->name));
  }
  return absl::OkStatus();
}

bool CanCompute(const TensorView& tensor, const ModelConfig& config) {
  return IsConvertibleToFloat(tensor.type) ||
         (tensor.type == TensorType::kF8E4M3 && config.fp8_blocks &&
          tensor.name.ends_with(".weight"));
}

bool IsWeight(const TensorView& tensor, const ModelConfig& config) {
  const std::string name = UsualName(tensor.name);
  if (name == kHead || name == kEmbedding || name == kFinalNorm) return true;
  constexpr std::array<std::string_view, 4> kEndings = {".weight", ".bias", ".weight_scale_inv",
                                                        ".e_score_correction_bias"};
  const std::optional<int64_t> layer = LayerOf(name);
  return layer && *layer < config.layer_count &&
         std::any_of(kEndings.begin(), kEndings.end(),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

absl::Status CheckTypes(const ModelConfig& config, const Checkpoint& checkpoint) {
  for (const SafetensorsFile& shard : checkpoint.shards()) {
    for (const TensorView& tensor : shard.tensors()) {
      if (CanCompute(tensor, config) || !IsWeight(tensor, config)) continue;
      return absl::InvalidArgumentError(fmt::format(
          "{}: tensor {} has values of type {}; weights must be BF16, F16 or F32: convert them "
          "with transformers' from_pretrained(dtype=...) and save_pretrained()",
          shard.path().string(), tensor.name, ToString(tensor.type)));
    }
  }
  return absl::OkStatus();
}

// Looks at 64 places, so that gigabytes need not be read: a head that was trained for
// itself differs everywhere.
bool LooksEqual(const TensorView& a, const TensorView& b) {
  constexpr size_t kPlaces = 64, kBytes = 1024;
  if (a.type != b.type || a.shape != b.shape) return false;
  const size_t size = a.bytes.size(), part = std::min(size, kBytes);
  for (size_t place = 0; place < kPlaces; ++place) {
    const size_t begin = (size - part) * place / (kPlaces - 1);
    if (!std::ranges::equal(a.bytes.subspan(begin, part), b.bytes.subspan(begin, part))) {
      return false;
    }
  }
  return true;
}

// transformers would begin with random numbers.
absl::Status CheckOwnHead(const Checkpoint& checkpoint) {
  const absl::StatusOr<TensorView> head = checkpoint.Get(kHead);
  if (head.ok()) return absl::OkStatus();
  return absl::NotFoundError(
      fmt::format("{}; config.json does not tie it to the embedding (tie_word_embeddings): was the "
                  "model saved without its head? AutoModelForCausalLM saves it",
                  Message(head.status())));
}

absl::Status CheckTiedHead(const Checkpoint& checkpoint) {
  const TensorView* head = checkpoint.Find(kHead);
  const TensorView* embedding = checkpoint.Find(kEmbedding);
  if (head == nullptr || embedding == nullptr || LooksEqual(*head, *embedding)) {
    return absl::OkStatus();
  }
  return Contradiction(checkpoint, fmt::format("{} that differs from {}", kHead, kEmbedding),
                       "tie_word_embeddings is true");
}

// transformers would load the model that the adapter names, and the adapter with it.
absl::Status CheckNoAdapter(const std::filesystem::path& directory) {
  constexpr char kAdapter[] = "adapter_config.json";
  std::error_code unreadable_is_not_there;
  if (!std::filesystem::exists(directory / kAdapter, unreadable_is_not_there)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: an adapter lies beside the model's weights ({}), which transformers would "
                  "load with them; move it to a folder of its own",
                  directory.string(), kAdapter));
}

}  // namespace

absl::Status CheckOneModel(const ModelConfig& config, const Checkpoint& checkpoint) {
  RETURN_IF_ERROR(CheckNoAdapter(checkpoint.directory()));
  RETURN_IF_ERROR(CheckLayerCount(config, checkpoint));
  RETURN_IF_ERROR(CheckBiases(config, checkpoint));
  RETURN_IF_ERROR(CheckSharedExperts(config, checkpoint));
  RETURN_IF_ERROR(CheckExpertsAreSingle(config, checkpoint));
  RETURN_IF_ERROR(CheckTypes(config, checkpoint));
  return config.tie_embeddings ? CheckTiedHead(checkpoint) : CheckOwnHead(checkpoint);
}

}  // namespace fedtune
