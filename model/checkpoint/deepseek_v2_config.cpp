// SPDX-License-Identifier: Apache-2.0

#include "fmt/format.h"
#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

constexpr Range kHeadDim = {1, 4096};
constexpr Range kWidth = {1, 1 << 20};
constexpr int64_t kMaxExperts = 4096;
constexpr int64_t kMaxExpertsOfAllLayers = 1 << 17;

MlaConfig ReadAttention(ConfigReader& reader, const ModelConfig& config) {
  MlaConfig attention;
  reader.Optional("q_lora_rank", attention.q_lora_rank, kWidth);
  reader.Required("kv_lora_rank", attention.kv_lora_rank, kWidth);
  reader.Required("qk_nope_head_dim", attention.qk_nope_head_dim, kHeadDim);
  reader.Required("qk_rope_head_dim", attention.qk_rope_head_dim, kHeadDim);
  reader.Required("v_head_dim", attention.v_head_dim, kHeadDim);
  reader.Require(attention.qk_rope_head_dim % 2 == 0, "qk_rope_head_dim", "is odd");
  int64_t key_value_heads = config.head_count;
  reader.Optional("num_key_value_heads", key_value_heads, {1, 4096});
  reader.Require(key_value_heads == config.head_count, "num_key_value_heads",
                 "differs from num_attention_heads, which latent attention does not have");
  return attention;
}

ExpertChoice ReadChoice(ConfigReader& reader) {
  std::string scoring = "softmax";
  reader.Optional("scoring_func", scoring);
  reader.Require(scoring == "softmax", "scoring_func",
                 fmt::format("is \"{}\"; only \"softmax\" is supported", scoring));
  std::string method = "greedy";
  reader.Optional("topk_method", method);
  if (method == "group_limited_greedy") return ExpertChoice::kGroupLimitedGreedy;
  reader.Require(
      method == "greedy", "topk_method",
      fmt::format("is \"{}\"; \"greedy\" and \"group_limited_greedy\" are supported", method));
  return ExpertChoice::kGreedy;
}

void ReadGroups(ConfigReader& reader, MoeConfig& moe) {
  const auto experts = static_cast<double>(moe.routed_expert_count);
  reader.Required("n_group", moe.group_count, {1, experts});
  reader.Required("topk_group", moe.groups_per_token, {1, experts});
  if (!reader.ok()) return;
  reader.Require(moe.routed_expert_count % moe.group_count == 0, "n_group",
                 "does not divide n_routed_experts");
  reader.Require(moe.groups_per_token <= moe.group_count, "topk_group", "is more than n_group");
  reader.Require(
      moe.experts_per_token <= moe.groups_per_token * (moe.routed_expert_count / moe.group_count),
      "num_experts_per_tok", "is more than topk_group groups have");
}

MoeConfig ReadMoe(ConfigReader& reader, const ModelConfig& config) {
  MoeConfig moe;
  reader.Optional("n_routed_experts", moe.routed_expert_count, {1, kMaxExperts});
  if (moe.routed_expert_count == 0) return moe;
  const auto experts = static_cast<double>(moe.routed_expert_count);
  reader.Optional("n_shared_experts", moe.shared_expert_count, {0, 256});
  reader.Required("num_experts_per_tok", moe.experts_per_token, {1, experts});
  reader.Required("moe_intermediate_size", moe.expert_width, kWidth);
  reader.Optional("first_k_dense_replace", moe.first_dense_layers,
                  {0, static_cast<double>(config.layer_count)});
  reader.Optional("moe_layer_freq", moe.layer_frequency, {1, 4096});
  reader.Optional("norm_topk_prob", moe.normalize_weights);
  reader.Optional("routed_scaling_factor", moe.routed_scaling_factor, {1e-6, 1e6});
  moe.choice = ReadChoice(reader);
  if (moe.choice == ExpertChoice::kGroupLimitedGreedy) ReadGroups(reader, moe);
  reader.Require(moe.routed_expert_count * config.layer_count <= kMaxExpertsOfAllLayers,
                 "n_routed_experts", "times num_hidden_layers is more than 131072");
  return moe;
}

}  // namespace

ModelConfig ReadDeepseekV2Config(ConfigReader& reader) {
  ModelConfig config;
  ReadCommonConfig(reader, config);
  config.attention = ReadAttention(reader, config);
  config.moe = ReadMoe(reader, config);
  config.rope = ReadRopeConfig(reader);
  return config;
}

}  // namespace fedtune
