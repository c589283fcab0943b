// SPDX-License-Identifier: Apache-2.0

#include "bench/train/random_model.h"

#include <functional>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/float_conversion.h"
#include "model/checkpoint/model_config.h"
#include "model/checkpoint/safetensors_writer.h"

namespace fedtune::bench {
namespace {

constexpr float kDeviation = 0.02F;

bool IsRouterBias(const TensorInfo& tensor) {
  return tensor.name.ends_with("e_score_correction_bias");
}

std::vector<TensorInfo> TensorsOf(const ModelConfig& config, TensorType type) {
  std::vector<TensorInfo> tensors;
  const auto add = [&](std::string name, std::vector<int64_t> shape) {
    tensors.push_back({std::move(name), type, std::move(shape)});
    if (IsRouterBias(tensors.back())) tensors.back().type = TensorType::kF32;
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

// What a tensor is filled with.
std::vector<float> ValuesOf(const TensorInfo& tensor, std::mt19937_64& bits) {
  const int64_t count =
      std::reduce(tensor.shape.begin(), tensor.shape.end(), int64_t{1}, std::multiplies<>());
  std::vector<float> values(static_cast<size_t>(count), IsRouterBias(tensor) ? 0.0F : 1.0F);
  if (tensor.shape.size() == 1) return values;
  std::normal_distribution<float> normal(0, kDeviation);
  for (float& value : values) value = normal(bits);
  return values;
}

absl::Status Append(const TensorInfo& tensor, std::span<const float> values,
                    SafetensorsWriter& writer) {
  std::vector<std::byte> bytes(values.size() * static_cast<size_t>(BytesPerValue(tensor.type)));
  EncodeFloats(tensor.type, values, bytes);
  return writer.Append(bytes);
}

absl::StatusOr<TensorType> TypeOf(std::string_view config_json) {
  ASSIGN_OR_RETURN(const nlohmann::json config, ParseJson(config_json, "the configuration"));
  return config.value("torch_dtype", "float32") == "bfloat16" ? TensorType::kBF16
                                                              : TensorType::kF32;
}

}  // namespace

absl::Status WriteRandomModel(std::string_view config_json,
                              const std::filesystem::path& directory) {
  ASSIGN_OR_RETURN(const ModelConfig config, ParseModelConfig(config_json, "the configuration"));
  RETURN_IF_ERROR(MakeDirectories(directory));
  ASSIGN_OR_RETURN(const TensorType type, TypeOf(config_json));
  const std::vector<TensorInfo> tensors = TensorsOf(config, type);
  ASSIGN_OR_RETURN(
      SafetensorsWriter writer,
      SafetensorsWriter::Create(directory / "model.safetensors", tensors, {{"format", "pt"}}));
  std::mt19937_64 bits(20);
  for (const TensorInfo& tensor : tensors) {
    RETURN_IF_ERROR(Append(tensor, ValuesOf(tensor, bits), writer));
  }
  RETURN_IF_ERROR(std::move(writer).Finish());
  return WriteFileAtomically(directory / "config.json", config_json);
}

}  // namespace fedtune::bench
