// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/architectures.h"

namespace fedtune {
namespace {

constexpr Range kHeadDim = {1, 4096};
constexpr Range kHeadCount = {1, 4096};
constexpr Range kWidth = {1, 1 << 20};

}  // namespace

MlaConfig ReadMlaConfig(ConfigReader& reader, const ModelConfig& config) {
  MlaConfig attention = {.q_lora_rank = 1536,
                         .kv_lora_rank = 512,
                         .qk_nope_head_dim = 128,
                         .qk_rope_head_dim = 64,
                         .v_head_dim = 128};
  reader.DefaultedOrNone("q_lora_rank", attention.q_lora_rank, kWidth);
  reader.Defaulted("kv_lora_rank", attention.kv_lora_rank, kWidth);
  reader.Defaulted("qk_nope_head_dim", attention.qk_nope_head_dim, kHeadDim);
  reader.Defaulted("qk_rope_head_dim", attention.qk_rope_head_dim, kHeadDim);
  reader.Defaulted("v_head_dim", attention.v_head_dim, kHeadDim);
  reader.Require(attention.qk_rope_head_dim % 2 == 0, "qk_rope_head_dim", "is odd");
  int64_t key_value_heads = config.head_count;
  reader.Optional("num_key_value_heads", key_value_heads, kHeadCount);
  reader.Require(key_value_heads == config.head_count, "num_key_value_heads",
                 "differs from num_attention_heads, which latent attention does not have");
  return attention;
}

GqaConfig ReadGqaConfig(ConfigReader& reader, const ModelConfig& config) {
  GqaConfig attention;
  attention.key_value_head_count = config.head_count;
  reader.Optional("num_key_value_heads", attention.key_value_head_count, kHeadCount);
  if (!reader.ok()) return attention;
  reader.Require(config.head_count % attention.key_value_head_count == 0, "num_key_value_heads",
                 "does not divide num_attention_heads");
  attention.head_dim = config.hidden_size / config.head_count;
  const bool given = reader.Find("head_dim") != nullptr;
  reader.Optional("head_dim", attention.head_dim, kHeadDim);
  reader.Require(given || config.hidden_size % config.head_count == 0, "num_attention_heads",
                 "does not divide hidden_size, and there is no head_dim");
  reader.Require(attention.head_dim > 0 && attention.head_dim % 2 == 0,
                 given ? "head_dim" : "hidden_size", "gives heads an odd width");
  return attention;
}

}  // namespace fedtune
