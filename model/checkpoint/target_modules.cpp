// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/target_modules.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <utility>

#include "fmt/format.h"

namespace fedtune {
namespace {

using nlohmann::json;

constexpr char kTargets[] = "target_modules";
constexpr char kExcluded[] = "exclude_modules";
constexpr char kLayers[] = "layers_to_transform";
constexpr char kLayersPattern[] = "layers_pattern";

constexpr std::string_view kHead = "lm_head";

// The layers of a model of the family, in whose names their numbers follow.
constexpr std::string_view kStack = "model.layers";

// A pattern for a whole name: peft does not look for it behind dots.
std::optional<NamePattern> WholeName(std::string_view expression) {
  absl::StatusOr<NamePattern> pattern = NamePattern::Create(fmt::format("^(?:{})", expression));
  return pattern.ok() ? std::optional(*std::move(pattern)) : std::nullopt;
}

bool AreAll(const json& list, bool (json::*is)() const noexcept) {
  return list.is_array() &&
         std::all_of(list.begin(), list.end(), [is](const json& one) { return (one.*is)(); });
}

PeftNames ReadNames(ConfigReader& reader, const char* key) {
  const json* value = reader.Find(key);
  PeftNames names;
  if (value == nullptr) return names;
  if (value->is_string()) {
    names.is_expression = true;
    names.expression = WholeName(value->get<std::string>());
  } else if (AreAll(*value, &json::is_string)) {
    names.listed = value->get<NameSet>();
  } else {
    reader.Reject(key, "is neither a list of names nor an expression for them");
  }
  return names;
}

std::optional<std::set<int64_t>> ReadLayers(ConfigReader& reader) {
  const json* value = reader.Find(kLayers);
  if (value == nullptr || (value->is_array() && value->empty())) return std::nullopt;
  if (value->is_number_integer()) return std::set<int64_t>{value->get<int64_t>()};
  if (AreAll(*value, &json::is_number_integer)) return value->get<std::set<int64_t>>();
  reader.Reject(kLayers, "is neither a layer's number nor a list of them");
  return std::nullopt;
}

// Whether one of the patterns stands for `kStack`; none stands for every stack.
bool IsStackNamed(ConfigReader& reader) {
  const json* value = reader.Find(kLayersPattern);
  if (value == nullptr || value->empty() || *value == "") return true;
  const json patterns = value->is_string() ? json::array({*value}) : *value;
  if (!AreAll(patterns, &json::is_string)) {
    reader.Reject(kLayersPattern, "is neither a text nor a list of them");
    return true;
  }
  return std::any_of(patterns.begin(), patterns.end(), [](const json& text) {
    const auto pattern = NamePattern::Create(text.get<std::string>());
    return !pattern.ok() || pattern->Matches(kStack);
  });
}

// In any case of its letters.
bool IsShorthandForAll(const json* value) {
  constexpr std::string_view kAll = "all-linear";
  return value != nullptr && value->is_string() &&
         std::ranges::equal(value->get_ref<const std::string&>(), kAll, {},
                            [](unsigned char c) { return std::tolower(c); });
}

// Of the layer that a module is in.
std::optional<int64_t> LayerOf(std::string_view module) {
  if (!module.starts_with(kStack) || module.size() <= kStack.size()) return std::nullopt;
  const std::string_view rest = module.substr(kStack.size() + 1);
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
  return error == std::errc() ? std::optional(layer) : std::nullopt;
}

}  // namespace

bool IsNamed(const NameSet& names, std::string_view name) {
  for (size_t dot = 0; !names.contains(name); name.remove_prefix(dot + 1)) {
    dot = name.find('.');
    if (dot == std::string_view::npos) return false;
  }
  return true;
}

TargetModules::TargetModules(ConfigReader& reader)
    : names_all_(IsShorthandForAll(reader.Find(kTargets))),
      excluded_(ReadNames(reader, kExcluded)),
      layers_(ReadLayers(reader)),
      names_no_stack_of_layers_(!IsStackNamed(reader)) {
  if (!names_all_) targets_ = ReadNames(reader, kTargets);
}

bool TargetModules::TransformsLayerOf(std::string_view module) const {
  if (!layers_) return true;
  const std::optional<int64_t> layer = LayerOf(module);
  return !names_no_stack_of_layers_ && layer && layers_->contains(*layer);
}

std::optional<std::string_view> TargetModules::LeftOutBy(std::string_view module) const {
  if (excluded_.is_expression ? excluded_.expression && excluded_.expression->Matches(module)
                              : IsNamed(excluded_.listed, module)) {
    return kExcluded;
  }
  if (names_all_ && module == kHead) return kTargets;
  if (targets_.is_expression) {
    const bool matches = !targets_.expression || targets_.expression->Matches(module);
    return matches ? std::nullopt : std::optional<std::string_view>(kTargets);
  }
  if (targets_.listed.empty()) return std::nullopt;
  if (!IsNamed(targets_.listed, module)) return kTargets;
  // A whole name is taken wherever it is.
  const bool is_whole = targets_.listed.contains(module);
  return is_whole || TransformsLayerOf(module) ? std::nullopt
                                               : std::optional<std::string_view>(kLayers);
}

}  // namespace fedtune
