// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/peft_config.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>

#include "base/json.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/checkpoint/config_reader.h"
#include "model/checkpoint/expert_name.h"

namespace fedtune {
namespace {

using nlohmann::json;

constexpr Range kRank = {1, 1 << 20};
constexpr Range kAlpha = {0, 1e9};

// Whether `pattern` is `name` or its end, at a dot.
bool Matches(std::string_view name, std::string_view pattern) {
  return name == pattern || (name.size() > pattern.size() && name.ends_with(pattern) &&
                             name[name.size() - pattern.size() - 1] == '.');
}

// The value of the longest pattern that fits; nothing when none does.
template <typename T>
std::optional<T> Match(const std::map<std::string, T>& patterns, std::string_view name) {
  std::optional<T> best;
  size_t length = 0;
  for (const auto& [pattern, value] : patterns) {
    if (pattern.size() < length || !Matches(name, pattern)) continue;
    best = value;
    length = pattern.size();
  }
  return best;
}

// What `patterns` say about a module under any of the names that peft knows it
// by. Fused gate and up projections have twice the rank and alpha.
template <typename T>
T ValueOf(const std::map<std::string, T>& patterns, T usual, std::string_view module) {
  if (const auto value = Match(patterns, module)) return *value;
  if (const auto value = Match(patterns, fmt::format("{}.weight", module))) return *value;
  const auto expert = ExpertName::Parse(module);
  if (!expert) return usual;
  const auto fused = Match(patterns, expert->FusedParameter());
  if (!fused) return usual;
  return expert->IsGateOrUp() ? *fused / 2 : *fused;
}

bool IsPlainPattern(std::string_view pattern) {
  return !pattern.empty() && std::all_of(pattern.begin(), pattern.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-';
  });
}

template <typename T>
void ReadPattern(ConfigReader& reader, std::string_view key, Range range,
                 std::map<std::string, T>& patterns) {
  const json* object = reader.FindObject(key);
  if (object == nullptr) return;
  ConfigReader inner(*object, fmt::format("in {}", key));
  for (const auto& [pattern, value] : object->items()) {
    inner.Require(IsPlainPattern(pattern), pattern, "is a regular expression; give plain names");
    inner.Required(pattern, patterns[pattern], range);
  }
  reader.Take(inner);
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
  const json* saved = reader.Find("modules_to_save");
  reader.Require(saved == nullptr || saved->empty(), "modules_to_save", "is not supported");
}

}  // namespace

int64_t PeftConfig::RankOf(std::string_view module) const {
  return ValueOf(rank_pattern, rank, module);
}

double PeftConfig::AlphaOf(std::string_view module) const {
  const double value = ValueOf(alpha_pattern, alpha, module);
  return rank_stabilised ? value * std::sqrt(static_cast<double>(RankOf(module))) : value;
}

absl::StatusOr<PeftConfig> ParsePeftConfig(std::string_view text, std::string_view source) {
  ASSIGN_OR_RETURN(const json object, ParseJson(text, source));
  if (!object.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{}: not an adapter's configuration", source));
  }
  ConfigReader reader(object, std::string(source));
  PeftConfig config;
  RefuseUnknownParts(reader);
  reader.Required("r", config.rank, kRank);
  reader.Required("lora_alpha", config.alpha, kAlpha);
  reader.Optional("use_rslora", config.rank_stabilised);
  reader.Optional("base_model_name_or_path", config.base_model);
  ReadPattern(reader, "rank_pattern", kRank, config.rank_pattern);
  for (const auto& [pattern, rank] : config.rank_pattern) {
    reader.Require(!pattern.ends_with("gate_up_proj") || rank % 2 == 0, pattern,
                   "has an odd rank, which two projections cannot share");
  }
  ReadPattern(reader, "alpha_pattern", kAlpha, config.alpha_pattern);
  RETURN_IF_ERROR(reader.Finish());
  return config;
}

}  // namespace fedtune
