// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/model_config.h"

#include <cmath>

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
constexpr std::string_view kOriginalContext = "original_max_position_embeddings";

double MagnitudeOf(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

void Optional(ConfigReader& reader, std::string_view key, std::optional<double>& field) {
  double value = 0;
  if (reader.Find(key) == nullptr) return;
  reader.Optional(key, value, {0, 1e6});
  field = value;
}

void RequireWholeHeadsTurn(ConfigReader& reader) {
  double part = 1;
  reader.Optional("partial_rotary_factor", part, {0, 1});
  reader.Require(part == 1, "partial_rotary_factor",
                 fmt::format("is {}; only 1 is supported", part));
}

YarnScaling ReadYarn(ConfigReader& reader, int64_t original_context) {
  YarnScaling yarn;
  yarn.original_context_length = original_context;
  reader.Required("factor", yarn.factor, {1, 1e6});
  reader.Optional("beta_fast", yarn.beta_fast, {1e-3, 1e6});
  reader.Optional("beta_slow", yarn.beta_slow, {1e-3, 1e6});
  reader.Require(yarn.beta_fast > yarn.beta_slow, "beta_fast", "is not above beta_slow");
  Optional(reader, "mscale", yarn.mscale);
  Optional(reader, "mscale_all_dim", yarn.mscale_all_dim);
  Optional(reader, "attention_factor", yarn.attention_factor);
  bool truncate = true;
  reader.Optional("truncate", truncate);
  reader.Require(truncate, "truncate", "is false, which is not supported");
  return yarn;
}

Llama3Scaling ReadLlama3(ConfigReader& reader, int64_t original_context) {
  Llama3Scaling llama3;
  llama3.original_context_length = original_context;
  reader.Required("factor", llama3.factor, {1, 1e6});
  reader.Required("low_freq_factor", llama3.low_frequency_factor, {1e-3, 1e6});
  reader.Required("high_freq_factor", llama3.high_frequency_factor, {1e-3, 1e6});
  reader.Require(llama3.high_frequency_factor > llama3.low_frequency_factor, "high_freq_factor",
                 "is not above low_freq_factor");
  return llama3;
}

// What `rope_scaling` and `rope_parameters` have in common. `original_context` is that
// of a scaling that names none.
void ReadScaling(ConfigReader& reader, RopeConfig& rope, int64_t original_context) {
  RequireWholeHeadsTurn(reader);
  std::string type = "default";
  reader.Optional("type", type);
  reader.Optional("rope_type", type);
  if (type == "yarn" || type == "llama3") {
    reader.Defaulted(kOriginalContext, original_context, kContext);
  }
  if (type == "yarn") {
    rope.yarn = ReadYarn(reader, original_context);
  } else if (type == "linear") {
    reader.Required("factor", rope.linear_factor, {1, 1e6});
  } else if (type == "llama3") {
    rope.llama3 = ReadLlama3(reader, original_context);
  } else {
    reader.Require(type == "default", "rope_type",
                   fmt::format("is \"{}\"; \"default\", \"linear\", \"yarn\" and \"llama3\" are "
                               "supported",
                               type));
  }
}

// Weights as the FP8 checkpoints of the family have them.
void ReadQuantization(ConfigReader& reader, ModelConfig& config) {
  constexpr Range kBlock = {1, 65536};
  const json* object = reader.FindObject("quantization_config");
  if (object == nullptr) return;
  ConfigReader inner(*object, "in quantization_config");
  std::string method, format = "e4m3";
  inner.Optional("quant_method", method);
  inner.Optional("fmt", format);
  inner.Require(method == "fp8" && format == "e4m3", "quant_method",
                fmt::format("is \"{}\" with the format \"{}\"; only \"fp8\" with \"e4m3\" is "
                            "supported",
                            method, format));
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

// A switch that must be off.
void RequireOff(ConfigReader& reader, std::string_view key) {
  bool on = false;
  reader.Optional(key, on);
  reader.Require(!on, key, "is true, which is not supported");
}

std::string SupportedTypes() {
  std::vector<std::string_view> names;
  names.reserve(kArchitectures.size());
  for (const Architecture& architecture : kArchitectures) names.push_back(architecture.model_type);
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

double YarnScaling::RotaryFactor() const {
  if (attention_factor) return *attention_factor;
  if (mscale.value_or(0) == 0 || mscale_all_dim.value_or(0) == 0) return MagnitudeOf(factor, 1);
  return MagnitudeOf(factor, *mscale) / MagnitudeOf(factor, *mscale_all_dim);
}

double YarnScaling::SoftmaxFactor() const {
  const double magnitude = MagnitudeOf(factor, mscale_all_dim.value_or(0));
  return magnitude * magnitude;
}

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
  RequireOff(reader, "attention_bias");
  RequireOff(reader, "mlp_bias");
  if (reader.Find("bos_token_id") != nullptr) {
    reader.Optional("bos_token_id", config.bos_token.emplace(), kTokenId);
  }
  ReadEosTokens(reader, config.eos_tokens);
  ReadQuantization(reader, config);
  return config;
}

RopeConfig ReadRopeConfig(ConfigReader& reader, RotaryPairs pairs, int64_t context_length) {
  constexpr Range kTheta = {1, 1e12};
  RopeConfig rope;
  rope.pairs = pairs;
  reader.Optional("rope_theta", rope.theta, kTheta);
  RequireWholeHeadsTurn(reader);
  // Where both are, transformers goes by the older one alone.
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json* object = reader.FindObject(key);
    if (object == nullptr || object->empty()) continue;
    ConfigReader inner(*object, fmt::format("in {}", key));
    inner.Optional("rope_theta", rope.theta, kTheta);
    ReadScaling(inner, rope, context_length);
    reader.Take(inner);
    break;
  }
  // Beside the scaling it comes before what is in it.
  if (rope.yarn) reader.Optional(kOriginalContext, rope.yarn->original_context_length, kContext);
  if (rope.llama3) {
    reader.Optional(kOriginalContext, rope.llama3->original_context_length, kContext);
  }
  return rope;
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
