// SPDX-License-Identifier: Apache-2.0

#include "fmt/format.h"
#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

constexpr int64_t kMaxExperts = 4096;
constexpr int64_t kMaxExpertsOfAllLayers = 1 << 17;

}  // namespace

MoeConfig ReadExperts(ConfigReader& reader, const ModelConfig& config, const MoeConfig& usual) {
  MoeConfig moe = usual;
  reader.DefaultedOrNone("n_routed_experts", moe.routed_expert_count, {1, kMaxExperts});
  if (moe.routed_expert_count == 0) return {};
  reader.DefaultedOrNone("n_shared_experts", moe.shared_expert_count, {0, 256});
  if (usual.experts_per_token == 0) {
    reader.Required("num_experts_per_tok", moe.experts_per_token, {1, kMaxExperts});
  } else {
    reader.Defaulted("num_experts_per_tok", moe.experts_per_token, {1, kMaxExperts});
  }
  reader.Require(moe.experts_per_token <= moe.routed_expert_count, "num_experts_per_tok",
                 fmt::format("is {}, more than n_routed_experts", moe.experts_per_token));
  reader.Defaulted("moe_intermediate_size", moe.expert_width, {1, 1 << 20});
  reader.Defaulted("first_k_dense_replace", moe.first_dense_layers, {0, 4096});
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
  reader.Defaulted("n_group", moe.group_count, {1, experts});
  reader.Defaulted("topk_group", moe.groups_per_token, {1, experts});
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
