// SPDX-License-Identifier: Apache-2.0

#include "plan/adapter_targets.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace fedtune {
namespace {

constexpr LayerKind kAdaptable[] = {LayerKind::kAttention, LayerKind::kDenseMlp,
                                    LayerKind::kSharedExpert, LayerKind::kRoutedExpert};
constexpr std::string_view kEveryLayer = "all-linear";
constexpr std::string_view kMlp = "mlp";

std::string_view LeafName(std::string_view layer) {
  return layer.substr(layer.rfind('.') + 1);  // npos + 1 is 0: the whole name.
}

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
  return target == ToString(layer.kind) || target == LeafName(layer.name);
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

int64_t RankOf(const LinearLayer& layer, const BaseModelDescription& model,
               const AdapterPlan& adapter) {
  if (layer.kind != LayerKind::kRoutedExpert) return adapter.rank;
  if (adapter.routed_rank > 0) return adapter.routed_rank;
  return std::max<int64_t>(1, adapter.rank / std::max<int64_t>(1, model.experts_per_token));
}

}  // namespace

absl::StatusOr<AdapterLayout> ResolveTargets(const BaseModelDescription& model,
                                             const AdapterPlan& adapter) {
  if (adapter.rank < 1) return absl::InvalidArgumentError("rank must be at least 1");
  if (adapter.targets.empty()) return absl::InvalidArgumentError("targets names no layer");
  for (const std::string& target : adapter.targets) RETURN_IF_ERROR(CheckTarget(model, target));
  std::vector<AdapterModule> modules;
  for (const LinearLayer& layer : model.linear_layers) {
    if (std::none_of(adapter.targets.begin(), adapter.targets.end(),
                     [&](const std::string& target) { return Matches(target, layer); })) {
      continue;
    }
    const int64_t rank = RankOf(layer, model, adapter);
    const double alpha =
        adapter.alpha * static_cast<double>(rank) / static_cast<double>(adapter.rank);
    modules.push_back({.name = layer.name,
                       .in_features = layer.in_features,
                       .out_features = layer.out_features,
                       .lora_rank = rank,
                       .alpha = alpha});
  }
  return AdapterLayout::Create(std::move(modules));
}

}  // namespace fedtune
