// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>

#include "fmt/format.h"

namespace fedtune::bench {

// A config.json of DeepSeek-V2: small, but such that a training's activations take more
// than all else. Keys of a head have 48 values, values `value_width`.
inline std::string SmallMixtureConfig(int64_t layers, int64_t value_width) {
  return fmt::format(R"({{
  "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_act": "silu",
  "attention_bias": false, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "vocab_size": 512,
  "max_position_embeddings": 2048, "tie_word_embeddings": false, "hidden_size": 256,
  "intermediate_size": 512, "moe_intermediate_size": 128, "num_hidden_layers": {},
  "first_k_dense_replace": 1, "moe_layer_freq": 1, "n_routed_experts": 8,
  "num_experts_per_tok": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
  "topk_method": "greedy", "norm_topk_prob": false, "routed_scaling_factor": 1.0,
  "scoring_func": "softmax", "q_lora_rank": null, "kv_lora_rank": 64, "num_attention_heads": 8,
  "num_key_value_heads": 8, "qk_nope_head_dim": 32, "qk_rope_head_dim": 16, "v_head_dim": {}}})",
                     layers, value_width);
}

}  // namespace fedtune::bench
