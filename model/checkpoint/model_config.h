// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
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
  bool truncate = true;  // The first and last of the stretched pairs are whole numbers.

  // What cosines and sines are multiplied by.
  double RotaryFactor() const;

  friend bool operator==(const YarnScaling&, const YarnScaling&) = default;
};

// The extension of Llama 3.1's context (Grattafiori et al., 2024), which R1's distilled
// Llamas have: a pair that turns less than `low_frequency_factor` times within the
// original context is slowed by the factor, one that turns more than
// `high_frequency_factor` times is left alone.
struct Llama3Scaling {
  double factor = 1;
  int64_t original_context_length = 0;
  double low_frequency_factor = 1;
  double high_frequency_factor = 4;

  friend bool operator==(const Llama3Scaling&, const Llama3Scaling&) = default;
};

// LongRoPE (Ding et al., 2024) up to the original context, where each pair is slowed by a
// factor of its own. Longer texts have other factors for all of their tokens; what
// transformers computes of them depends on how they come to it.
struct LongRopeScaling {
  std::vector<double> short_factors;
  double magnitude = 1;  // What cosines and sines are multiplied by.

  friend bool operator==(const LongRopeScaling&, const LongRopeScaling&) = default;
};

// Which values of a rotary part form the pairs that are turned.
enum class RotaryPairs : uint8_t {
  kNeighbours,  // 0 and 1, 2 and 3, and so on.
  kHalves,      // Value i of the first half with value i of the second.
};

// Rotary position embedding (Su et al., 2021).
struct RopeConfig {
  double theta = 10000;
  double linear_factor = 1;  // Positions are divided by it (Chen et al., 2023).
  std::optional<YarnScaling> yarn = std::nullopt;
  std::optional<Llama3Scaling> llama3 = std::nullopt;
  std::optional<LongRopeScaling> longrope = std::nullopt;
  RotaryPairs pairs = RotaryPairs::kNeighbours;

  // What latent attention multiplies its softmax scale by:
  // (0.1 mscale_all_dim ln(factor) + 1)^2.
  double softmax_factor = 1;

  // What cosines and sines are multiplied by.
  double Magnitude() const;

  friend bool operator==(const RopeConfig&, const RopeConfig&) = default;
};

// Multi-head latent attention. Queries and keys have a part without positions
// and a rotary part.
struct MlaConfig {
  int64_t q_lora_rank = 0;  // 0: queries come from one q_proj.
  int64_t kv_lora_rank = 0;
  int64_t qk_nope_head_dim = 0;
  int64_t qk_rope_head_dim = 0;  // Even.
  int64_t v_head_dim = 0;

  int64_t qk_head_dim() const { return qk_nope_head_dim + qk_rope_head_dim; }

  friend bool operator==(const MlaConfig&, const MlaConfig&) = default;
};

// Attention with a key and a value head for every so many query heads
// (Ainslie et al., 2023); with one for each it is plain multi-head attention.
// Heads are rotary as a whole.
struct GqaConfig {
  int64_t key_value_head_count = 0;  // Divides the number of heads.
  int64_t head_dim = 0;              // Even.

  friend bool operator==(const GqaConfig&, const GqaConfig&) = default;
};

// What a router makes of its products with a token.
enum class RouterScores : uint8_t { kSoftmax, kSigmoid };

// How a router chooses a token's experts.
enum class ExpertChoice : uint8_t {
  kGreedy,              // The experts_per_token best.
  kGroupLimitedGreedy,  // The same, among the groups whose best expert is best.

  // The same, among the groups whose two best experts are best together. What is
  // compared is a score plus the expert's bias, e_score_correction_bias, by which
  // its load was balanced (DeepSeek-V3, 2024); weights come from scores alone.
  kBiasedGroups,
};

// What becomes of the scores of a token's experts, its weights.
enum class WeightScaling : uint8_t {
  kNormalizeOrScale,   // Divided by their sum, or else multiplied by the factor.
  kNormalizeAndScale,  // The factor comes on top of the division.
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
  RouterScores scores = RouterScores::kSoftmax;
  ExpertChoice choice = ExpertChoice::kGreedy;
  int64_t group_count = 1;
  int64_t groups_per_token = 1;
  bool normalize_weights = false;
  WeightScaling weight_scaling = WeightScaling::kNormalizeOrScale;
  double routed_scaling_factor = 1;

  friend bool operator==(const MoeConfig&, const MoeConfig&) = default;
};

// The weights of linear layers are 8-bit floats (E4M3), but those that the
// quantisation left alone; each block of them has a scale in the tensor
// <name>.weight_scale_inv, by which they are multiplied.
struct Fp8Blocks {
  int64_t rows = 128;
  int64_t columns = 128;

  friend bool operator==(const Fp8Blocks&, const Fp8Blocks&) = default;
};

// The architecture of a base model: everything of its config.json that changes
// what it computes, checked to be consistent and of sane size.
struct ModelConfig {
  std::string model_type;
  int64_t hidden_size = 0;
  int64_t layer_count = 0;
  int64_t prediction_layers = 0;  // For multi-token prediction, behind those; left out.
  int64_t head_count = 0;
  int64_t vocabulary_size = 0;
  int64_t context_length = 0;  // Of the tokens that we can compute.
  int64_t dense_width = 0;     // Of the MLP in layers without experts.
  double rms_norm_epsilon = 1e-6;
  bool tie_embeddings = false;  // The head is the embedding.
  bool attention_bias = false;  // Of the projections of attention, latent: q_a, kv_a and o.
  bool mlp_bias = false;        // Of dense MLPs and shared experts.
  std::variant<MlaConfig, GqaConfig> attention;
  RopeConfig rope;
  MoeConfig moe;
  std::optional<Fp8Blocks> fp8_blocks = std::nullopt;
  std::optional<int64_t> bos_token = std::nullopt;
  std::vector<int64_t> eos_tokens;

  bool IsMoeLayer(int64_t layer) const;

  // Values of a head that turn with the position.
  int64_t rotary_dim() const;

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

// Parses a config.json. `source` names it in messages.
//
// INVALID_ARGUMENT: not a model's configuration, a model_type that we cannot
// run (says which ones we can), or values that cannot work, a line each.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view json, std::string_view source);

// The blocks of the 8-bit weights that a config.json speaks of.
//
// INVALID_ARGUMENT: it speaks of none, or of others than FP8's E4M3.
absl::StatusOr<Fp8Blocks> ParseFp8Blocks(std::string_view json, std::string_view source);

// Reads `directory`/config.json. NOT_FOUND, or as ParseModelConfig().
absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& directory);

// The end tokens in `directory`/generation_config.json, often more than config.json's;
// none if there is no such file. INVALID_ARGUMENT: it is not what transformers writes.
absl::StatusOr<std::vector<int64_t>> ReadGenerationEosTokens(
    const std::filesystem::path& directory);

// The model's linear layers, layer by layer; the head last, unless it is tied.
std::vector<LinearLayer> LinearLayers(const ModelConfig& config);

}  // namespace fedtune
