// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/base_model_description.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/config_reader.h"
#include "model/checkpoint/model_config.h"
#include "model/checkpoint/model_weights.h"
#include "model/checkpoint/one_model.h"

namespace fedtune {
namespace {

using nlohmann::json;

// In the order of the enumeration.
constexpr std::array<std::string_view, 6> kKindNames = {
    "attention", "dense_mlp", "shared_experts", "routed_experts", "router", "head"};

constexpr Range kCount = {0, 1e15};

std::optional<LayerKind> ParseKind(std::string_view name) {
  for (size_t i = 0; i < kKindNames.size(); ++i) {
    if (kKindNames[i] == name) return static_cast<LayerKind>(i);
  }
  return std::nullopt;
}

bool HasFp16(const Checkpoint& checkpoint, const std::vector<LinearLayer>& layers) {
  return std::any_of(layers.begin(), layers.end(), [&](const LinearLayer& layer) {
    const TensorView* weight = checkpoint.Find(layer.name + ".weight");
    return weight != nullptr && weight->type == TensorType::kF16;
  });
}

// "models/tiny/" and "." have a name too.
std::string FolderName(const std::filesystem::path& directory) {
  std::error_code error;
  std::filesystem::path full = std::filesystem::weakly_canonical(directory, error);
  if (error) full = directory;
  return full.filename().string();
}

json ToJsonObject(const LinearLayer& layer) {
  json object = {{"name", layer.name},
                 {"kind", std::string(ToString(layer.kind))},
                 {"in_features", layer.in_features},
                 {"out_features", layer.out_features}};
  if (layer.has_bias) object["has_bias"] = true;
  return object;
}

// Problems go to `reader`.
LinearLayer ReadLayer(const json& object, ConfigReader& reader) {
  LinearLayer layer;
  if (!object.is_object()) {
    reader.Reject("linear_layers", "has an entry that is not an object");
    return layer;
  }
  constexpr Range kSize = {1, 1 << 30};
  ConfigReader inner(object, "linear_layers");
  std::string kind;
  inner.Optional("name", layer.name);
  inner.Optional("kind", kind);
  inner.Required("in_features", layer.in_features, kSize);
  inner.Required("out_features", layer.out_features, kSize);
  inner.Optional("has_bias", layer.has_bias);
  inner.Require(!layer.name.empty(), "name", "is missing");
  const std::optional<LayerKind> known = ParseKind(kind);
  inner.Require(known.has_value(), "kind", fmt::format("is \"{}\", which is unknown", kind));
  layer.kind = known.value_or(LayerKind::kAttention);
  reader.Take(inner);
  return layer;
}

void ReadLayers(ConfigReader& reader, std::vector<LinearLayer>& layers) {
  const json* list = reader.Find("linear_layers");
  if (list == nullptr || !list->is_array()) {
    return reader.Reject("linear_layers", "is not a list");
  }
  for (const json& object : *list) {
    layers.push_back(ReadLayer(object, reader));
    if (!reader.ok()) return;
  }
}

}  // namespace

std::string_view ToString(LayerKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

absl::StatusOr<BaseModelDescription> DescribeBaseModel(const std::filesystem::path& directory) {
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(directory));
  ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(directory));
  std::vector<LinearLayer> layers = LinearLayers(config);
  RETURN_IF_ERROR(CheckOneModel(config, checkpoint));
  RETURN_IF_ERROR(CheckModelWeights(config, checkpoint));
  const bool has_fp16 = HasFp16(checkpoint, layers);
  return BaseModelDescription{.name = FolderName(directory),
                              .digest = "",
                              .model_type = config.model_type,
                              .parameter_count = checkpoint.parameter_count(),
                              .weight_bytes = checkpoint.weight_bytes(),
                              .has_fp16 = has_fp16,
                              .layer_count = config.layer_count,
                              .hidden_size = config.hidden_size,
                              .vocabulary_size = config.vocabulary_size,
                              .context_length = config.context_length,
                              .experts_per_token = config.moe.experts_per_token,
                              .routed_expert_count = config.moe.routed_expert_count,
                              .linear_layers = std::move(layers)};
}

std::string ToJson(const BaseModelDescription& description) {
  json layers = json::array();
  for (const LinearLayer& layer : description.linear_layers) layers.push_back(ToJsonObject(layer));
  const json object = {{"name", description.name},
                       {"digest", description.digest},
                       {"model_type", description.model_type},
                       {"parameter_count", description.parameter_count},
                       {"weight_bytes", description.weight_bytes},
                       {"has_fp16", description.has_fp16},
                       {"layer_count", description.layer_count},
                       {"hidden_size", description.hidden_size},
                       {"vocabulary_size", description.vocabulary_size},
                       {"context_length", description.context_length},
                       {"experts_per_token", description.experts_per_token},
                       {"routed_expert_count", description.routed_expert_count},
                       {"linear_layers", std::move(layers)}};
  return object.dump(-1, ' ', false, json::error_handler_t::replace);
}

absl::StatusOr<BaseModelDescription> BaseModelDescriptionFromJson(std::string_view text) {
  constexpr char kSource[] = "base model description";
  ASSIGN_OR_RETURN(const json object, ParseJson(text, kSource));
  if (!object.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{}: not a JSON object", kSource));
  }
  ConfigReader reader(object, kSource);
  BaseModelDescription description;
  reader.Optional("name", description.name);
  reader.Optional("digest", description.digest);
  reader.Optional("model_type", description.model_type);
  reader.Required("parameter_count", description.parameter_count, kCount);
  reader.Required("weight_bytes", description.weight_bytes, kCount);
  reader.Optional("has_fp16", description.has_fp16);
  reader.Required("layer_count", description.layer_count, kCount);
  reader.Required("hidden_size", description.hidden_size, kCount);
  reader.Required("vocabulary_size", description.vocabulary_size, kCount);
  reader.Required("context_length", description.context_length, kCount);
  reader.Required("experts_per_token", description.experts_per_token, kCount);
  reader.Required("routed_expert_count", description.routed_expert_count, kCount);
  ReadLayers(reader, description.linear_layers);
  RETURN_IF_ERROR(reader.Finish());
  return description;
}

}  // namespace fedtune
