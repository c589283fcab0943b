// SPDX-License-Identifier: Apache-2.0

#include <string>
#include <utility>

#include "base/overloaded.h"
#include "fmt/format.h"
#include "model/checkpoint/model_config.h"

namespace fedtune {
namespace {

// Collects the layers of one model.
class LayerList {
 public:
  explicit LayerList(const ModelConfig& config) : config_(config) {}

  void AddBlock(int64_t index) {
    const std::string block = fmt::format("model.layers.{}", index);
    AddAttention(block + ".self_attn.");
    if (config_.IsMoeLayer(index)) {
      AddExperts(block + ".mlp.");
    } else {
      AddMlp(block + ".mlp.", LayerKind::kDenseMlp, config_.dense_width);
    }
  }

  void AddHead() { Add("lm_head", LayerKind::kHead, config_.hidden_size, config_.vocabulary_size); }

  std::vector<LinearLayer> Finish() && { return std::move(layers_); }

 private:
  void Add(std::string name, LayerKind kind, int64_t in, int64_t out, bool has_bias = false) {
    layers_.push_back({.name = std::move(name),
                       .kind = kind,
                       .in_features = in,
                       .out_features = out,
                       .has_bias = has_bias});
  }

  void AddAttention(const std::string& prefix) {
    std::visit(Overloaded{[&](const MlaConfig& mla) { AddMla(prefix, mla); },
                          [&](const GqaConfig& gqa) { AddGqa(prefix, gqa); }},
               config_.attention);
  }

  void AddMla(const std::string& prefix, const MlaConfig& mla) {
    constexpr LayerKind kKind = LayerKind::kAttention;
    const int64_t query = config_.head_count * mla.qk_head_dim();
    if (mla.q_lora_rank == 0) {
      Add(prefix + "q_proj", kKind, config_.hidden_size, query);
    } else {
      Add(prefix + "q_a_proj", kKind, config_.hidden_size, mla.q_lora_rank, config_.attention_bias);
      Add(prefix + "q_b_proj", kKind, mla.q_lora_rank, query);
    }
    Add(prefix + "kv_a_proj_with_mqa", kKind, config_.hidden_size,
        mla.kv_lora_rank + mla.qk_rope_head_dim, config_.attention_bias);
    Add(prefix + "kv_b_proj", kKind, mla.kv_lora_rank,
        config_.head_count * (mla.qk_nope_head_dim + mla.v_head_dim));
    Add(prefix + "o_proj", kKind, config_.head_count * mla.v_head_dim, config_.hidden_size,
        config_.attention_bias);
  }

  void AddGqa(const std::string& prefix, const GqaConfig& gqa) {
    constexpr LayerKind kKind = LayerKind::kAttention;
    const int64_t query = config_.head_count * gqa.head_dim;
    const int64_t key = gqa.key_value_head_count * gqa.head_dim;
    const bool has_bias = config_.attention_bias;
    Add(prefix + "q_proj", kKind, config_.hidden_size, query, has_bias);
    Add(prefix + "k_proj", kKind, config_.hidden_size, key, has_bias);
    Add(prefix + "v_proj", kKind, config_.hidden_size, key, has_bias);
    Add(prefix + "o_proj", kKind, query, config_.hidden_size, has_bias);
  }

  void AddMlp(const std::string& prefix, LayerKind kind, int64_t width) {
    const bool has_bias = config_.mlp_bias && kind != LayerKind::kRoutedExpert;
    Add(prefix + "gate_proj", kind, config_.hidden_size, width, has_bias);
    Add(prefix + "up_proj", kind, config_.hidden_size, width, has_bias);
    Add(prefix + "down_proj", kind, width, config_.hidden_size, has_bias);
  }

  void AddExperts(const std::string& prefix) {
    const MoeConfig& moe = config_.moe;
    Add(prefix + "gate", LayerKind::kRouter, config_.hidden_size, moe.routed_expert_count);
    for (int64_t expert = 0; expert < moe.routed_expert_count; ++expert) {
      AddMlp(fmt::format("{}experts.{}.", prefix, expert), LayerKind::kRoutedExpert,
             moe.expert_width);
    }
    if (moe.shared_expert_count > 0) {
      AddMlp(prefix + "shared_experts.", LayerKind::kSharedExpert,
             moe.shared_expert_count * moe.expert_width);
    }
  }

  const ModelConfig& config_;
  std::vector<LinearLayer> layers_;
};

}  // namespace

std::vector<LinearLayer> LinearLayers(const ModelConfig& config) {
  LayerList layers(config);
  for (int64_t i = 0; i < config.layer_count; ++i) layers.AddBlock(i);
  if (!config.tie_embeddings) layers.AddHead();
  return std::move(layers).Finish();
}

}  // namespace fedtune
