// SPDX-License-Identifier: Apache-2.0

#include "plan/adapter_targets.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "model/checkpoint/expert_name.h"
#include "model/checkpoint/name_pattern.h"
#include "model/checkpoint/pattern_index.h"

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

// Whether `end` is the name, or what stands behind one of its dots.
bool IsEndOf(std::string_view name, std::string_view end) {
  return name == end || (!end.empty() && name.size() > end.size() && name.ends_with(end) &&
                         name[name.size() - end.size() - 1] == '.');
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

bool Matches(std::string_view target, const LinearLayer& layer) {
  if (layer.kind == LayerKind::kHead) return target == LeafName(layer.name);
  if (!IsAdaptable(layer.kind)) return false;
  if (target == kEveryLayer) return true;
  if (target == kMlp) return layer.kind != LayerKind::kAttention;
  return target == ToString(layer.kind) || IsEndOf(layer.name, target);
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

absl::Status CheckTarget(const BaseModelDescription& model, std::string_view target) {
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
  if (std::any_of(layers.begin(), layers.end(),
                  [&](const LinearLayer& layer) { return Matches(target, layer); })) {
    return absl::OkStatus();
  }
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

bool IsTargeted(const LinearLayer& layer, const AdapterPlan& adapter) {
  return std::any_of(adapter.targets.begin(), adapter.targets.end(),
                     [&](const std::string& target) { return Matches(target, layer); });
}

// Each number of the subset must be that of a routed expert that is a target.
absl::Status CheckSubset(const BaseModelDescription& model, const AdapterPlan& adapter) {
  std::set<int64_t> experts, layers;
  for (const LinearLayer& layer : model.linear_layers) {
    if (layer.kind != LayerKind::kRoutedExpert || !IsTargeted(layer, adapter)) continue;
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

template <typename T>
absl::StatusOr<NamePatterns<T>> Compile(const std::vector<std::pair<std::string, T>>& texts) {
  NamePatterns<T> patterns;
  for (const auto& [text, value] : texts) {
    ASSIGN_OR_RETURN(NamePattern pattern, NamePattern::Create(text));
    patterns.Add(std::move(pattern), value);
  }
  return patterns;
}

// A pattern without a module is a misspelt one.
template <typename T>
absl::Status CheckPatterns(std::string_view key, const NamePatterns<T>& patterns,
                           const std::vector<AdapterModule>& modules) {
  for (const auto& [pattern, value] : patterns.all()) {
    if (std::any_of(modules.begin(), modules.end(), [&pattern = pattern](const auto& module) {
          return pattern.Matches(module.name);
        })) {
      continue;
    }
    return absl::InvalidArgumentError(
        fmt::format("{}: \"{}\" matches none of the {} layers that are trained, such as {}", key,
                    pattern.text(), modules.size(), modules.front().name));
  }
  return absl::OkStatus();
}

// Ranks and alphas of a model's layers.
class Factors {
 public:
  static absl::StatusOr<Factors> Create(const BaseModelDescription& model,
                                        const AdapterPlan& adapter) {
    Factors factors(adapter, std::max<int64_t>(1, model.experts_per_token));
    ASSIGN_OR_RETURN(factors.ranks_, Compile(adapter.rank_pattern));
    ASSIGN_OR_RETURN(factors.alphas_, Compile(adapter.alpha_pattern));
    return factors;
  }

  AdapterModule ModuleOf(const LinearLayer& layer) const {
    const std::optional<int64_t> rank = ranks_.First(layer.name);
    const std::optional<double> alpha = alphas_.First(layer.name);
    AdapterModule module = {.name = layer.name,
                            .in_features = layer.in_features,
                            .out_features = layer.out_features,
                            .lora_rank = rank.value_or(UsualRank(layer)),
                            .alpha = alpha.value_or(adapter_.alpha)};
    const auto own = static_cast<double>(module.lora_rank);
    if (rank || alpha) {
      if (adapter_.rslora) module.alpha *= std::sqrt(own);
      return module;
    }
    const auto usual = static_cast<double>(adapter_.rank);
    module.alpha = module.alpha * own / (adapter_.rslora ? std::sqrt(usual) : usual);
    return module;
  }

  absl::Status Check(const std::vector<AdapterModule>& modules) const {
    RETURN_IF_ERROR(CheckPatterns("rank_pattern", ranks_, modules));
    return CheckPatterns("alpha_pattern", alphas_, modules);
  }

 private:
  Factors(const AdapterPlan& adapter, int64_t experts_per_token)
      : adapter_(adapter), experts_per_token_(experts_per_token) {}

  int64_t UsualRank(const LinearLayer& layer) const {
    if (layer.kind != LayerKind::kRoutedExpert) return adapter_.rank;
    if (adapter_.routed_rank > 0) return adapter_.routed_rank;
    return std::max<int64_t>(1, adapter_.rank / experts_per_token_);
  }

  const AdapterPlan& adapter_;
  int64_t experts_per_token_;
  NamePatterns<int64_t> ranks_;
  NamePatterns<double> alphas_;
};

}  // namespace

absl::StatusOr<AdapterLayout> ResolveTargets(const BaseModelDescription& model,
                                             const AdapterPlan& adapter) {
  if (adapter.rank < 1) return absl::InvalidArgumentError("rank must be at least 1");
  if (adapter.targets.empty()) return absl::InvalidArgumentError("targets names no layer");
  if (adapter.targets != AdapterPlan().targets) {
    for (const std::string& target : adapter.targets) RETURN_IF_ERROR(CheckTarget(model, target));
  }
  RETURN_IF_ERROR(CheckSubset(model, adapter));
  ASSIGN_OR_RETURN(const Factors factors, Factors::Create(model, adapter));
  std::vector<AdapterModule> modules;
  for (const LinearLayer& layer : model.linear_layers) {
    if (!IsTargeted(layer, adapter) || !IsInSubset(layer, adapter)) continue;
    modules.push_back(factors.ModuleOf(layer));
  }
  if (modules.empty()) {
    return absl::InvalidArgumentError(
        "no layer is left to train: routed_experts and routed_layers leave no expert");
  }
  RETURN_IF_ERROR(factors.Check(modules));
  return AdapterLayout::Create(std::move(modules));
}

}  // namespace fedtune
