// SPDX-License-Identifier: Apache-2.0

#include "bench/train/random_model.h"

#include <random>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/model_config.h"
#include "model/checkpoint/safetensors_writer.h"

namespace fedtune::bench {
namespace {

constexpr float kDeviation = 0.02F;

bool IsNorm(const TensorInfo& tensor) { return tensor.shape.size() == 1; }

std::vector<TensorInfo> TensorsOf(const ModelConfig& config) {
  std::vector<TensorInfo> tensors;
  const auto add = [&](std::string name, std::vector<int64_t> shape) {
    tensors.push_back({std::move(name), TensorType::kF32, std::move(shape)});
  };
  add("model.embed_tokens.weight", {config.vocabulary_size, config.hidden_size});
  for (const LinearLayer& layer : LinearLayers(config)) {
    add(layer.name + ".weight", {layer.out_features, layer.in_features});
  }
  for (int64_t i = 0; i < config.layer_count; ++i) {
    const std::string name = fmt::format("model.layers.{}.", i);
    add(name + "input_layernorm.weight", {config.hidden_size});
    add(name + "post_attention_layernorm.weight", {config.hidden_size});
    if (const auto* mla = std::get_if<MlaConfig>(&config.attention)) {
      add(name + "self_attn.kv_a_layernorm.weight", {mla->kv_lora_rank});
      if (mla->q_lora_rank > 0) {
        add(name + "self_attn.q_a_layernorm.weight", {mla->q_lora_rank});
      }
    }
    if (config.IsMoeLayer(i) && config.moe.choice == ExpertChoice::kBiasedGroups) {
      add(name + "mlp.gate.e_score_correction_bias", {config.moe.routed_expert_count});
    }
  }
  add("model.norm.weight", {config.hidden_size});
  return tensors;
}

}  // namespace

absl::Status WriteRandomModel(std::string_view config_json,
                              const std::filesystem::path& directory) {
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(config_json, "the configuration"));
  RETURN_IF_ERROR(MakeDirectories(directory));
  const std::vector<TensorInfo> tensors = TensorsOf(config);
  ASSIGN_OR_RETURN(
      SafetensorsWriter writer,
      SafetensorsWriter::Create(directory / "model.safetensors", tensors, {{"format", "pt"}}));
  std::mt19937_64 bits(20);
  std::normal_distribution<float> normal(0, kDeviation);
  for (const TensorInfo& tensor : tensors) {
    int64_t count = 1;
    for (const int64_t size : tensor.shape) count *= size;
    std::vector<float> values(static_cast<size_t>(count), 1.0F);
    if (!IsNorm(tensor)) {
      for (float& value : values) value = normal(bits);
    }
    RETURN_IF_ERROR(writer.Append(std::as_bytes(std::span(values))));
  }
  RETURN_IF_ERROR(std::move(writer).Finish());
  return WriteFileAtomically(directory / "config.json", config_json);
}

}  // namespace fedtune::bench
