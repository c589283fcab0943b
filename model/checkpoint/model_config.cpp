// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/model_config.h"

#include "base/files.h"
#include "base/json.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

using nlohmann::json;

constexpr Range kTokenId = {0, 2147483647};
constexpr Range kContext = {1, 1 << 30};

// Weights as the FP8 checkpoints of the family have them.
void ReadQuantization(ConfigReader& reader, ModelConfig& config) {
  constexpr Range kBlock = {1, 65536};
  const json* object = reader.FindObject("quantization_config");
  if (object == nullptr) return;
  ConfigReader inner(*object, "in quantization_config");
  std::string method, format = "e4m3";
  inner.Optional("quant_method", method);
  inner.Optional("fmt", format);
  if (method != "fp8" || format != "e4m3") {
    inner.Reject("quant_method", fmt::format("is \"{}\" with the format \"{}\"; only \"fp8\" with "
                                             "\"e4m3\" is supported",
                                             method, format));
    return reader.Take(inner);
  }
  const json* block = inner.Find("weight_block_size");
  const auto is_size = [&](const json& size) {
    return size.is_number_unsigned() && size.get<double>() >= kBlock.least &&
           size.get<double>() <= kBlock.most;
  };
  const bool valid = block != nullptr && block->is_array() && block->size() == 2 &&
                     is_size((*block)[0]) && is_size((*block)[1]);
  inner.Require(valid, "weight_block_size", "is not two numbers from 1 to 65536");
  reader.Take(inner);
  if (valid) config.fp8_blocks = {(*block)[0].get<int64_t>(), (*block)[1].get<int64_t>()};
}

}  // namespace

absl::StatusOr<Fp8Blocks> ParseFp8Blocks(std::string_view text, std::string_view source) {
  ASSIGN_OR_RETURN(const json object, ParseJson(text, source));
  if (!object.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{}: not a model configuration", source));
  }
  ConfigReader reader(object, std::string(source));
  ModelConfig config;
  ReadQuantization(reader, config);
  reader.Require(config.fp8_blocks.has_value(), "quantization_config",
                 "does not say how large the blocks of 8-bit weights are");
  RETURN_IF_ERROR(reader.Finish());
  return *config.fp8_blocks;
}

namespace {

void ReadEosTokens(ConfigReader& reader, std::vector<int64_t>& tokens) {
  const json* value = reader.Find("eos_token_id");
  if (value == nullptr) return;
  if (!value->is_array()) {
    tokens.emplace_back();
    return reader.Optional("eos_token_id", tokens.back(), kTokenId);
  }
  for (const json& token : *value) {
    const bool valid = token.is_number_unsigned() && token.get<double>() <= kTokenId.most;
    reader.Require(valid, "eos_token_id", "is not a list of tokens");
    if (valid) tokens.push_back(token.get<int64_t>());
  }
}

std::string SupportedTypes() {
  std::vector<std::string_view> names;
  names.reserve(kArchitectures.size());
  for (const Architecture& architecture : kArchitectures) names.push_back(architecture.model_type);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

bool ModelConfig::IsMoeLayer(int64_t layer) const {
  return moe.routed_expert_count > 0 && layer >= moe.first_dense_layers &&
         layer % moe.layer_frequency == 0;
}

int64_t ModelConfig::rotary_dim() const {
  if (const auto* mla = std::get_if<MlaConfig>(&attention)) return mla->qk_rope_head_dim;
  return std::get<GqaConfig>(attention).head_dim;
}

ModelConfig ReadCommonConfig(ConfigReader& reader, int64_t usual_context) {
  ModelConfig config;
  config.context_length = usual_context;
  reader.Required("hidden_size", config.hidden_size, {1, 1 << 20});
  reader.Required("num_hidden_layers", config.layer_count, {1, 1024});
  reader.Required("num_attention_heads", config.head_count, {1, 4096});
  reader.Required("vocab_size", config.vocabulary_size, {1, 1 << 24});
  reader.Defaulted("max_position_embeddings", config.context_length, kContext);
  reader.Required("intermediate_size", config.dense_width, {1, 1 << 20});
  reader.Defaulted("rms_norm_eps", config.rms_norm_epsilon, {1e-12, 1});
  reader.Optional("tie_word_embeddings", config.tie_embeddings);
  std::string activation = "silu";
  reader.Optional("hidden_act", activation);
  reader.Require(activation == "silu" || activation == "swish", "hidden_act",
                 fmt::format("is \"{}\"; only \"silu\" is supported", activation));
  reader.Optional("attention_bias", config.attention_bias);
  if (reader.Find("bos_token_id") != nullptr) {
    reader.Optional("bos_token_id", config.bos_token.emplace(), kTokenId);
  }
  ReadEosTokens(reader, config.eos_tokens);
  ReadQuantization(reader, config);
  return config;
}

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view text, std::string_view source) {
  ASSIGN_OR_RETURN(const json object, ParseJson(text, source));
  const auto type = object.is_object() ? object.find("model_type") : object.end();
  if (type == object.end() || !type->is_string()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: has no model_type; is it a model's configuration?", source));
  }
  const auto& name = type->get_ref<const std::string&>();
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.model_type != name) continue;
    ConfigReader reader(object, std::string(source));
    ModelConfig config = architecture.read(reader);
    RETURN_IF_ERROR(reader.Finish());
    config.model_type = name;
    return config;
  }
  return absl::InvalidArgumentError(fmt::format(
      "{}: model_type \"{}\" is not supported; these are: {}", source, name, SupportedTypes()));
}

absl::StatusOr<std::vector<int64_t>> ReadGenerationEosTokens(
    const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "generation_config.json";
  std::vector<int64_t> tokens;
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return tokens;
  RETURN_IF_ERROR(text.status());
  ASSIGN_OR_RETURN(const json object, ParseJson(*text, path.string()));
  if (!object.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{}: not a JSON object", path.string()));
  }
  ConfigReader reader(object, path.string());
  ReadEosTokens(reader, tokens);
  RETURN_IF_ERROR(reader.Finish());
  return tokens;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "config.json";
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseModelConfig(text, path.string());
}

}  // namespace fedtune
