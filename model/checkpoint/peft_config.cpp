// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/peft_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/config_reader.h"
#include "model/checkpoint/expert_name.h"

namespace fedtune {
namespace {

using nlohmann::json;

constexpr Range kRank = {1, 1 << 20};
constexpr Range kAlpha = {-1e9, 1e9};

// Of a module's name among the patterns.
constexpr size_t kMostLooks = 1'000;

// `file` is `reader`'s object in the order of the file, in which the first pattern
// that matches counts.
template <typename T>
void ReadPattern(ConfigReader& reader, const nlohmann::ordered_json& file, const char* key,
                 Range range, NamePatterns<T>& patterns) {
  const json* object = reader.FindObject(key);
  if (object == nullptr) return;
  ConfigReader inner(*object, fmt::format("in {}", key));
  for (const auto& [text, unused] : file.at(key).items()) {
    if (patterns.looks() > kMostLooks) break;  // Each expression takes memory, too.
    absl::StatusOr<NamePattern> pattern = NamePattern::Create(text);
    inner.Require(pattern.ok(), text, pattern.ok() ? "" : Message(pattern.status()));
    T value = {};
    inner.Required(text, value, range);
    if (pattern.ok()) patterns.Add(*std::move(pattern), value);
  }
  reader.Take(inner);
  reader.Require(patterns.looks() <= kMostLooks, key,
                 fmt::format("has more than {} expressions, or names with their dots in ever "
                             "new places; an expression can stand for many modules",
                             kMostLooks));
}

void ReadNames(ConfigReader& reader, const char* key, NameSet& names) {
  const json* list = reader.Find(key);
  if (list == nullptr) return;
  const bool are_names =
      list->is_array() &&
      std::all_of(list->begin(), list->end(), [](const json& j) { return j.is_string(); });
  reader.Require(are_names, key, "is not a list of names");
  if (are_names) names = list->get<NameSet>();
}

// Before the first step peft subtracts what some initial factors add from the base
// model's weights, and it does so again when it loads them.
void RefuseChangedBase(ConfigReader& reader) {
  constexpr std::array<std::string_view, 4> kLeaveTheBase = {"gaussian", "eva", "orthogonal",
                                                             "mica"};
  const json* initial = reader.Find("init_lora_weights");
  if (initial == nullptr || initial->is_boolean()) return;
  std::string name;
  reader.Optional("init_lora_weights", name);
  reader.Require(std::ranges::find(kLeaveTheBase, name) != kLeaveTheBase.end(), "init_lora_weights",
                 fmt::format("is \"{}\", which changes weights of the base model, too; save the "
                             "adapter with peft's path_initial_model_for_weight_conversion",
                             name));
}

// An empty object stands for a part whose settings are all the usual ones.
bool IsOff(const json* value) {
  return value == nullptr || (value->is_array() && value->empty()) ||
         (value->is_boolean() && !value->get<bool>());
}

// Parts that change what an adapter computes and that we do not have.
void RefuseUnknownParts(ConfigReader& reader) {
  std::string type;
  reader.Optional("peft_type", type);
  reader.Require(type == "LORA", "peft_type", fmt::format("is \"{}\", not \"LORA\"", type));
  for (const char* key : {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"}) {
    bool on = false;
    reader.Optional(key, on);
    reader.Require(!on, key, "is true, which is not supported");
  }
  std::string bias = "none";
  reader.Optional("bias", bias);
  reader.Require(bias == "none", "bias", "is trained, which is not supported");
  for (const char* key : {"modules_to_save", "trainable_token_indices", "layer_replication",
                          "alora_invocation_tokens", "use_bdlora", "arrow_config", "kasa_config",
                          "monteclora_config"}) {
    reader.Require(IsOff(reader.Find(key)), key, "is not supported");
  }
  RefuseChangedBase(reader);
}

}  // namespace

PeftConfig::Found PeftConfig::Find(std::string_view module) const {
  const auto expert = ExpertName::Parse(module);
  const std::string weight = fmt::format("{}.weight", module);
  std::vector<std::string> names = {TargetsParameter(weight) ? weight : std::string(module)};
  if (expert) names.push_back(expert->FusedParameter());
  for (const std::string& name : names) {
    const auto own_rank = rank_pattern.First(name);
    const auto own_alpha = alpha_pattern.First(name);
    if (!own_rank && !own_alpha) continue;
    const bool shared = expert && expert->IsGateOrUp() && name == expert->FusedParameter();
    return {own_rank.value_or(rank), own_alpha.value_or(alpha), shared ? 2 : 1};
  }
  return {rank, alpha, 1};
}

int64_t PeftConfig::RankOf(std::string_view module) const {
  const Found found = Find(module);
  return std::max<int64_t>(1, found.rank / found.sharers);
}

double PeftConfig::AlphaOf(std::string_view module) const {
  const Found found = Find(module);
  const double alone = found.alpha / static_cast<double>(found.sharers);
  return rank_stabilised ? alone * std::sqrt(static_cast<double>(found.rank)) : alone;
}

bool PeftConfig::TargetsParameter(std::string_view parameter) const {
  return IsNamed(target_parameters, parameter);
}

std::optional<std::string_view> PeftConfig::LeftOutBy(std::string_view module) const {
  if (TargetsParameter(fmt::format("{}.weight", module)) || ExpertName::Parse(module)) {
    return std::nullopt;
  }
  if (target_modules.NamesNone() && !target_parameters.empty()) return "target_modules";
  return target_modules.LeftOutBy(module);
}

absl::StatusOr<PeftConfig> ParsePeftConfig(std::string_view text, std::string_view source) {
  ASSIGN_OR_RETURN(const json object, ParseJson(text, source));
  if (!object.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{}: not an adapter's configuration", source));
  }
  ConfigReader reader(object, std::string(source));
  PeftConfig config;
  RefuseUnknownParts(reader);
  reader.Defaulted("r", config.rank, kRank);
  reader.Defaulted("lora_alpha", config.alpha, kAlpha);
  reader.Optional("use_rslora", config.rank_stabilised);
  reader.Optional("base_model_name_or_path", config.base_model);
  const auto file = nlohmann::ordered_json::parse(text);  // It is JSON, as ParseJson() knows.
  ReadPattern(reader, file, "rank_pattern", kRank, config.rank_pattern);
  ReadPattern(reader, file, "alpha_pattern", kAlpha, config.alpha_pattern);
  config.target_modules = TargetModules(reader);
  ReadNames(reader, "target_parameters", config.target_parameters);
  reader.Require(
      !config.target_modules.NamesNone() || !config.target_parameters.empty(), "target_modules",
      "names none, for which peft takes some or none by the kind of the base model; name "
      "all that the adapter has factors for, such as [\"q_proj\", \"v_proj\"]");
  RETURN_IF_ERROR(reader.Finish());
  return config;
}

}  // namespace fedtune
