// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/checkpoint/base_model_description.h"

namespace fedtune {

// YaRN context extension (Peng et al., 2023) as DeepSeek uses it.
struct YarnScaling {
  double factor = 1;
  int64_t original_context_length = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  std::optional<double> mscale = std::nullopt;
  std::optional<double> mscale_all_dim = std::nullopt;
  std::optional<double> attention_factor = std::nullopt;

  // What cosines and sines are multiplied by.
  double RotaryFactor() const;

  // What the softmax scale is multiplied by: (0.1 mscale_all_dim ln(factor) + 1)^2.
  double SoftmaxFactor() const;

  friend bool operator==(const YarnScaling&, const YarnScaling&) = default;
};

// Rotary position embedding.
struct RopeConfig {
  double theta = 10000;
  std::optional<YarnScaling> yarn = std::nullopt;

  friend bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

// Multi-head latent attention. Queries and keys have a part without positions
// and a rotary part of which neighbouring values are pairs.
struct MlaConfig {
  int64_t q_lora_rank = 0;  // 0: queries come from one q_proj.
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;  // Even.
  int64_t v_head_dim = 0;

  int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }

  friend bool operator==(const MlaConfig&, const MlaConfig&) = default;
};

// How a router chooses a token's experts.
enum class ExpertChoice : uint8_t {
  kGreedy,              // The experts_per_token best.
  kGroupLimitedGreedy,  // The same, among the groups whose best expert is best.
};

// The mixture of experts. routed_expert_count 0: every layer is dense, and the
// rest means nothing.
struct MoeConfig {
  int64_t routed_expert_count = 0;
  int64_t shared_expert_count = 0;  // As one MLP of this many widths; may be 0.
  int64_t experts_per_token = 0;
  int64_t expert_width = 0;
  int64_t first_dense_layers = 0;
  int64_t layer_frequency = 1;
  ExpertChoice choice = ExpertChoice::kGreedy;
  int64_t group_count = 1;
  int64_t groups_per_token = 1;
  // Weights of a token's experts: divided by their sum, or else multiplied by
  // routed_scaling_factor.
  bool normalize_weights = false;
  double routed_scaling_factor = 1;

  friend bool operator==(const MoeConfig&, const MoeConfig&) = default;
};

// The architecture of a base model: everything of its config.json that changes
// what it computes, checked to be consistent and of sane size.
struct ModelConfig {
  std::string model_type;
  int64_t hidden_size = 0;
  int64_t layer_count = 0;
  int64_t head_count = 0;
  int64_t vocabulary_size = 0;
  int64_t context_length = 0;
  int64_t dense_width = 0;  // Of the MLP in layers without experts.
  double rms_norm_epsilon = 1e-6;
  bool tie_embeddings = false;  // The head is the embedding.
  MlaConfig attention;
  RopeConfig rope;
  MoeConfig moe;
  std::optional<int64_t> bos_token = std::nullopt;
  std::vector<int64_t> eos_tokens;

  bool IsMoeLayer(int64_t layer) const;

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

// Parses a config.json. `source` names it in messages.
//
// INVALID_ARGUMENT: not a model's configuration, a model_type that we cannot
// run (says which ones we can), or values that cannot work, a line each.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json, std::string_view source);

// Reads `directory`/config.json. NOT_FOUND, or as ParseModelConfig().
absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& directory);

// The model's linear layers, layer by layer; the head last, unless it is tied.
std::vector<LinearLayer> LinearLayers(const ModelConfig& config);

}  // namespace fedtune
