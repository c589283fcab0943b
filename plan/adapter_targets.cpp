// SPDX-License-Identifier: Apache-2.0

#include "plan/adapter_targets.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "model/checkpoint/expert_name.h"
#include "plan/adapter_modules.h"

namespace fedtune {
namespace {

constexpr LayerKind kAdaptable[] = {LayerKind::kAttention, LayerKind::kDenseMlp,
                                    LayerKind::kSharedExpert, LayerKind::kRoutedExpert};
constexpr std::string_view kEveryLayer = "all-linear";
constexpr std::string_view kMlp = "mlp";
constexpr std::string_view kHead = "lm_head";

std::string_view LeafName(std::string_view layer) {
  return layer.substr(layer.rfind('.') + 1);  // npos + 1 is 0: the whole name.
}

bool IsHead(const LinearLayer& layer) { return layer.kind == LayerKind::kHead; }

bool IsAdaptable(LayerKind kind) {
  return std::find(std::begin(kAdaptable), std::end(kAdaptable), kind) != std::end(kAdaptable);
}

bool IsGroup(std::string_view target) {
  return target == kEveryLayer || target == kMlp ||
         std::any_of(std::begin(kAdaptable), std::end(kAdaptable),
                     [&](LayerKind kind) { return ToString(kind) == target; });
}

// All that a plan may name a layer by: its groups, and the ends of its name.
std::vector<std::string_view> NamesOf(const LinearLayer& layer) {
  if (IsHead(layer)) return {LeafName(layer.name)};
  if (!IsAdaptable(layer.kind)) return {};
  std::vector<std::string_view> names = {kEveryLayer, ToString(layer.kind)};
  if (layer.kind != LayerKind::kAttention) names.push_back(kMlp);
  std::string_view end = layer.name;
  while (!end.empty()) {
    names.push_back(end);
    const size_t dot = end.find('.');
    if (dot == std::string_view::npos) break;
    end.remove_prefix(dot + 1);
  }
  return names;
}

using NameSet = std::unordered_set<std::string_view>;

NameSet NamesOfAll(const BaseModelDescription& model) {
  NameSet all;
  for (const LinearLayer& layer : model.linear_layers) {
    for (const std::string_view name : NamesOf(layer)) all.insert(name);
  }
  return all;
}

// "attention has q_proj, o_proj; dense_mlp has gate_proj, ...".
std::string WhatThereIs(const BaseModelDescription& model) {
  std::map<LayerKind, std::vector<std::string_view>> leaves;
  for (const LinearLayer& layer : model.linear_layers) {
    if (!IsAdaptable(layer.kind)) continue;
    auto& names = leaves[layer.kind];
    const std::string_view leaf = LeafName(layer.name);
    if (std::find(names.begin(), names.end(), leaf) == names.end()) names.push_back(leaf);
  }
  std::vector<std::string> groups;
  groups.reserve(leaves.size());
  for (const auto& [kind, names] : leaves) {
    groups.push_back(fmt::format("{} has {}", ToString(kind), fmt::join(names, ", ")));
  }
  return fmt::format("{}", fmt::join(groups, "; "));
}

// `named` are NamesOfAll().
absl::Status CheckTarget(const BaseModelDescription& model, const NameSet& named,
                         std::string_view target) {
  if (target == ToString(LayerKind::kRouter)) {
    return absl::InvalidArgumentError(
        "target \"router\": routers are never trained, because institutions would pull the "
        "experts apart; remove it from targets");
  }
  const auto& layers = model.linear_layers;
  if (target == kHead && std::none_of(layers.begin(), layers.end(), IsHead)) {
    return absl::InvalidArgumentError(fmt::format(
        "target \"{}\": that of {} is tied to the embedding, which merging would change as well; "
        "save the model with a head of its own (tie_word_embeddings false) to adapt it",
        target, model.name));
  }
  if (named.contains(target)) return absl::OkStatus();
  return absl::InvalidArgumentError(IsGroup(target)
                                        ? fmt::format("target \"{}\": {} has no such layers ({})",
                                                      target, model.name, WhatThereIs(model))
                                        : fmt::format("target \"{}\" matches no layer of {} ({})",
                                                      target, model.name, WhatThereIs(model)));
}

// The number of the layer in "model.layers.3.mlp..."; nothing outside of layers.
std::optional<int64_t> LayerNumber(std::string_view name) {
  constexpr std::string_view kLayers = "model.layers.";
  if (!name.starts_with(kLayers)) return std::nullopt;
  name.remove_prefix(kLayers.size());
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

bool IsAmong(const std::vector<int64_t>& numbers, int64_t number) {
  return numbers.empty() || std::find(numbers.begin(), numbers.end(), number) != numbers.end();
}

// Whether the plan's subset of routed experts has `layer`; it has all others.
bool IsInSubset(const LinearLayer& layer, const AdapterPlan& adapter) {
  if (layer.kind != LayerKind::kRoutedExpert) return true;
  const auto expert = ExpertName::Parse(layer.name);
  const auto number = LayerNumber(layer.name);
  return expert && number && IsAmong(adapter.routed_experts, expert->index) &&
         IsAmong(adapter.routed_layers, *number);
}

// `targets` are the plan's.
bool IsTargeted(const LinearLayer& layer, const NameSet& targets) {
  return std::ranges::any_of(NamesOf(layer),
                             [&](std::string_view name) { return targets.contains(name); });
}

// Each number of the subset must be that of a routed expert that is a target.
absl::Status CheckSubset(const BaseModelDescription& model, const AdapterPlan& adapter,
                         const NameSet& targets) {
  std::set<int64_t> experts, layers;
  for (const LinearLayer& layer : model.linear_layers) {
    if (layer.kind != LayerKind::kRoutedExpert || !IsTargeted(layer, targets)) continue;
    if (const auto expert = ExpertName::Parse(layer.name)) experts.insert(expert->index);
    if (const auto number = LayerNumber(layer.name)) layers.insert(*number);
  }
  const auto check = [&](std::string_view key, const std::vector<int64_t>& numbers,
                         const std::set<int64_t>& there) -> absl::Status {
    for (const int64_t number : numbers) {
      if (there.contains(number)) continue;
      return absl::InvalidArgumentError(
          there.empty()
              ? fmt::format("{} is set, but targets name no routed expert of {}", key, model.name)
              : fmt::format("{} has {}, but the routed {} of {} are {} to {}", key, number,
                            key == "routed_layers" ? "experts' layers" : "experts", model.name,
                            *there.begin(), *there.rbegin()));
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(check("routed_experts", adapter.routed_experts, experts));
  return check("routed_layers", adapter.routed_layers, layers);
}

}  // namespace

absl::StatusOr<AdapterLayout> ResolveTargets(const BaseModelDescription& model,
                                             const AdapterPlan& adapter, MatchingTime time) {
  if (adapter.rank < 1) return absl::InvalidArgumentError("rank must be at least 1");
  if (adapter.targets.empty()) return absl::InvalidArgumentError("targets names no layer");
  if (adapter.targets != AdapterPlan().targets) {
    const NameSet named = NamesOfAll(model);
    for (const std::string& target : adapter.targets) {
      RETURN_IF_ERROR(CheckTarget(model, named, target));
    }
  }
  const NameSet targets(adapter.targets.begin(), adapter.targets.end());
  RETURN_IF_ERROR(CheckSubset(model, adapter, targets));
  std::vector<const LinearLayer*> layers;
  for (const LinearLayer& layer : model.linear_layers) {
    if (IsTargeted(layer, targets) && IsInSubset(layer, adapter)) layers.push_back(&layer);
  }
  if (layers.empty()) {
    return absl::InvalidArgumentError(
        "no layer is left to train: routed_experts and routed_layers leave no expert");
  }
  ASSIGN_OR_RETURN(std::vector<AdapterModule> modules,
                   ModulesOf(layers, adapter, model.experts_per_token, time));
  return AdapterLayout::Create(std::move(modules));
}

}  // namespace fedtune
