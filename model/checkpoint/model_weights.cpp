// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/model_weights.h"

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/base_model_description.h"
#include "model/checkpoint/float_conversion.h"

namespace fedtune {
namespace {

using Shape = std::vector<int64_t>;

int64_t BlocksOf(int64_t size, int64_t block) { return (size + block - 1) / block; }

class WeightsCheck {
 public:
  WeightsCheck(const ModelConfig& config, const Checkpoint& checkpoint)
      : config_(config), checkpoint_(checkpoint) {}

  absl::Status Run() const {
    RETURN_IF_ERROR(CheckMatrix(EmbeddingName(config_, checkpoint_),
                                {config_.vocabulary_size, config_.hidden_size}));
    for (const LinearLayer& layer : LinearLayers(config_)) RETURN_IF_ERROR(CheckLinear(layer));
    for (int64_t i = 0; i < config_.layer_count; ++i) {
      RETURN_IF_ERROR(CheckVectors(i, fmt::format("model.layers.{}.", i)));
    }
    return CheckNorm("model.norm", config_.hidden_size);
  }

 private:
  // Those of a layer that belong to no linear layer.
  absl::Status CheckVectors(int64_t index, const std::string& layer) const {
    RETURN_IF_ERROR(CheckNorm(layer + "input_layernorm", config_.hidden_size));
    RETURN_IF_ERROR(CheckNorm(layer + "post_attention_layernorm", config_.hidden_size));
    if (const auto* mla = std::get_if<MlaConfig>(&config_.attention)) {
      if (mla->q_lora_rank > 0) {
        RETURN_IF_ERROR(CheckNorm(layer + "self_attn.q_a_layernorm", mla->q_lora_rank));
      }
      RETURN_IF_ERROR(CheckNorm(layer + "self_attn.kv_a_layernorm", mla->kv_lora_rank));
    }
    if (!config_.IsMoeLayer(index) || config_.moe.choice != ExpertChoice::kBiasedGroups) {
      return absl::OkStatus();
    }
    return Check(layer + "mlp.gate.e_score_correction_bias", {config_.moe.routed_expert_count});
  }

  absl::Status CheckLinear(const LinearLayer& layer) const {
    const Shape shape = {layer.out_features, layer.in_features};
    RETURN_IF_ERROR(layer.kind == LayerKind::kRouter ? Check(layer.name + ".weight", shape)
                                                     : CheckMatrix(layer.name, shape));
    if (!layer.has_bias) return absl::OkStatus();
    return Check(layer.name + ".bias", {layer.out_features});
  }

  absl::Status CheckNorm(const std::string& name, int64_t size) const {
    return Check(name + ".weight", {size});
  }

  // One that may be in FP8, with a scale for each block then.
  absl::Status CheckMatrix(const std::string& name, const Shape& shape) const {
    const std::string weight = name + ".weight";
    ASSIGN_OR_RETURN(const TensorView tensor, checkpoint_.Get(weight));
    if (!config_.fp8_blocks || tensor.type != TensorType::kF8E4M3) return Check(weight, shape);
    RETURN_IF_ERROR(CheckShape(tensor, shape));
    return Check(weight + "_scale_inv", {BlocksOf(shape[0], config_.fp8_blocks->rows),
                                         BlocksOf(shape[1], config_.fp8_blocks->columns)});
  }

  absl::Status Check(const std::string& name, const Shape& shape) const {
    ASSIGN_OR_RETURN(const TensorView tensor, checkpoint_.Get(name));
    RETURN_IF_ERROR(CheckShape(tensor, shape));
    if (IsConvertibleToFloat(tensor.type)) return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("{}: tensor {} has values of type {}; BF16, F16 or F32 is needed",
                    checkpoint_.directory().string(), tensor.name, ToString(tensor.type)));
  }

  absl::Status CheckShape(const TensorView& tensor, const Shape& shape) const {
    if (tensor.shape == shape) return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("{}: tensor {} is {}; config.json implies {}", checkpoint_.directory().string(),
                    tensor.name, ShapeToString(tensor.shape), ShapeToString(shape)));
  }

  const ModelConfig& config_;
  const Checkpoint& checkpoint_;
};

}  // namespace

std::string EmbeddingName(const ModelConfig& config, const Checkpoint& checkpoint) {
  constexpr char kUsual[] = "model.embed_tokens", kHead[] = "lm_head";
  const auto is_there = [&](std::string_view name) {
    return checkpoint.Find(fmt::format("{}.weight", name)) != nullptr;
  };
  return config.tie_embeddings && !is_there(kUsual) && is_there(kHead) ? kHead : kUsual;
}

absl::Status CheckModelWeights(const ModelConfig& config, const Checkpoint& checkpoint) {
  return WeightsCheck(config, checkpoint).Run();
}

}  // namespace fedtune
