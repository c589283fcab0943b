// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

constexpr int64_t kMaxExperts = 4096;
constexpr int64_t kMaxExpertsOfAllLayers = 1 << 17;

}  // namespace

MoeConfig ReadExperts(ConfigReader& reader, const ModelConfig& config) {
  MoeConfig moe;
  reader.Optional("n_routed_experts", moe.routed_expert_count, {1, kMaxExperts});
  if (moe.routed_expert_count == 0) return moe;
  const auto experts = static_cast<double>(moe.routed_expert_count);
  reader.Optional("n_shared_experts", moe.shared_expert_count, {0, 256});
  reader.Required("num_experts_per_tok", moe.experts_per_token, {1, experts});
  reader.Required("moe_intermediate_size", moe.expert_width, {1, 1 << 20});
  reader.Optional("first_k_dense_replace", moe.first_dense_layers,
                  {0, static_cast<double>(config.layer_count)});
  reader.Optional("moe_layer_freq", moe.layer_frequency, {1, 4096});
  reader.Optional("norm_topk_prob", moe.normalize_weights);
  reader.Require(moe.routed_expert_count * config.layer_count <= kMaxExpertsOfAllLayers,
                 "n_routed_experts", "times num_hidden_layers is more than 131072");
  return moe;
}

RouterWords ReadRouterWords(ConfigReader& reader, const RouterWords& usual) {
  RouterWords words = usual;
  reader.Optional("scoring_func", words.scoring);
  reader.Optional("topk_method", words.method);
  return words;
}

void ReadExpertGroups(ConfigReader& reader, MoeConfig& moe, int64_t least_size) {
  const auto experts = static_cast<double>(moe.routed_expert_count);
  reader.Required("n_group", moe.group_count, {1, experts});
  reader.Required("topk_group", moe.groups_per_token, {1, experts});
  if (!reader.ok()) return;
  const int64_t group_size = moe.routed_expert_count / moe.group_count;
  reader.Require(moe.routed_expert_count % moe.group_count == 0, "n_group",
                 "does not divide n_routed_experts");
  reader.Require(group_size >= least_size, "n_group", "leaves a group with too few experts");
  reader.Require(moe.groups_per_token <= moe.group_count, "topk_group", "is more than n_group");
  reader.Require(moe.experts_per_token <= moe.groups_per_token * group_size, "num_experts_per_tok",
                 "is more than topk_group groups have");
}

}  // namespace fedtune
