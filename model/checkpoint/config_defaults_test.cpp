// SPDX-License-Identifier: Apache-2.0

// What a config.json does not say, and transformers' configurations say for it.

#include "gmock/gmock.h"
#include "model/checkpoint/model_config.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using nlohmann::json;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

// The sizes that nobody can guess.
json Sizes(std::string_view model_type) {
  return {{"model_type", model_type}, {"hidden_size", 64}, {"num_hidden_layers", 4},
          {"num_attention_heads", 4}, {"vocab_size", 8},   {"intermediate_size", 32}};
}

ModelConfig Parse(const json& config) {
  const auto parsed = ParseModelConfig(config.dump(), "config.json");
  EXPECT_THAT(parsed, IsOk()) << parsed.status();
  return parsed.value_or(ModelConfig());
}

void ExpectRefused(const json& config, std::string_view reason) {
  const auto parsed = ParseModelConfig(config.dump(), "config.json");
  EXPECT_THAT(parsed, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(std::string(reason)));
}

TEST(ConfigDefaultsTest, OfALlama) {
  const ModelConfig config = Parse(Sizes("llama"));
  EXPECT_EQ(config.context_length, 2048);
  EXPECT_EQ(config.rms_norm_epsilon, 1e-6);
  EXPECT_EQ(std::get<GqaConfig>(config.attention), (GqaConfig{4, 16}));
  EXPECT_EQ(config.rope, (RopeConfig{.pairs = RotaryPairs::kHalves}));
  EXPECT_EQ(config.moe, MoeConfig());
}

TEST(ConfigDefaultsTest, OfDeepSeekMoe) {
  json config = Sizes("deepseek");
  EXPECT_EQ(Parse(config).moe, MoeConfig());
  config["n_routed_experts"] = 4;
  ExpectRefused(config, "num_experts_per_tok is missing");
  config["num_experts_per_tok"] = 2;
  EXPECT_EQ(Parse(config).moe,
            (MoeConfig{.routed_expert_count = 4, .experts_per_token = 2, .expert_width = 1407}));
}

TEST(ConfigDefaultsTest, OfDeepSeekV2) {
  json config = Sizes("deepseek_v2");
  ExpectRefused(config, "num_experts_per_tok is missing");
  config["num_experts_per_tok"] = 6;
  const ModelConfig parsed = Parse(config);
  EXPECT_EQ(parsed.context_length, 2048);
  EXPECT_EQ(std::get<MlaConfig>(parsed.attention), (MlaConfig{1536, 512, 128, 64, 128}));
  EXPECT_EQ(parsed.moe, (MoeConfig{.routed_expert_count = 64,
                                   .shared_expert_count = 2,
                                   .experts_per_token = 6,
                                   .expert_width = 1407}));
}

TEST(ConfigDefaultsTest, OfDeepSeekV3) {
  const ModelConfig config = Parse(Sizes("deepseek_v3"));
  EXPECT_EQ(config.context_length, 4096);
  EXPECT_EQ(std::get<MlaConfig>(config.attention), (MlaConfig{1536, 512, 128, 64, 128}));
  EXPECT_EQ(config.moe, (MoeConfig{.routed_expert_count = 256,
                                   .shared_expert_count = 1,
                                   .experts_per_token = 8,
                                   .expert_width = 2048,
                                   .first_dense_layers = 3,
                                   .scores = RouterScores::kSigmoid,
                                   .choice = ExpertChoice::kBiasedGroups,
                                   .group_count = 8,
                                   .groups_per_token = 4,
                                   .normalize_weights = true,
                                   .weight_scaling = WeightScaling::kNormalizeAndScale,
                                   .routed_scaling_factor = 2.5}));
}

TEST(ConfigDefaultsTest, OfDeepSeekV32AreThoseOfV3ButTheContext) {
  json config = Sizes("deepseek_v32");
  config["index_topk"] = 1 << 20;
  const ModelConfig parsed = Parse(config);
  EXPECT_EQ(parsed.context_length, 163840);
  EXPECT_EQ(parsed.moe, Parse(Sizes("deepseek_v3")).moe);
}

TEST(ConfigDefaultsTest, MayContradictWhatIsSaid) {
  json config = Sizes("deepseek_v3");
  config["n_routed_experts"] = 4;
  ExpectRefused(config, "num_experts_per_tok is 8, more than n_routed_experts");
  config["num_experts_per_tok"] = 2;
  config["n_group"] = 2;
  ExpectRefused(config, "topk_group is more than n_group");
}

TEST(ConfigDefaultsTest, OfGroupsAreNoneInDeepSeekV2) {
  json config = Sizes("deepseek_v2");
  config["num_experts_per_tok"] = 6;
  config["topk_method"] = "group_limited_greedy";
  ExpectRefused(config, "config.json: n_group is missing\nconfig.json: topk_group is missing");
}

TEST(ConfigDefaultsTest, MayLeaveNoLayerToTheExperts) {
  json config = Sizes("deepseek_v3");
  config["num_hidden_layers"] = 2;
  EXPECT_FALSE(Parse(config).IsMoeLayer(1));
}

TEST(ConfigDefaultsTest, StandForNoNull) {
  for (const char* key :
       {"routed_scaling_factor", "n_group", "topk_group", "num_experts_per_tok",
        "first_k_dense_replace", "moe_intermediate_size", "kv_lora_rank", "qk_nope_head_dim",
        "qk_rope_head_dim", "v_head_dim", "max_position_embeddings", "rms_norm_eps"}) {
    json config = Sizes("deepseek_v3");
    config[key] = nullptr;
    ExpectRefused(config, std::string("config.json: ") + key + " is null");
  }
}

TEST(ConfigDefaultsTest, StandForNoSwitchThatIsNull) {
  json config = Sizes("deepseek_v3");
  config["norm_topk_prob"] = nullptr;
  config["rope_interleave"] = nullptr;
  EXPECT_FALSE(Parse(config).moe.normalize_weights);
  EXPECT_EQ(Parse(config).rope.pairs, RotaryPairs::kHalves);
}

TEST(ConfigDefaultsTest, AreTurnedOffByANullWhereThatMeansNone) {
  json config = Sizes("deepseek_v3");
  config["q_lora_rank"] = nullptr;
  config["n_shared_experts"] = nullptr;
  EXPECT_EQ(std::get<MlaConfig>(Parse(config).attention).q_lora_rank, 0);
  EXPECT_EQ(Parse(config).moe.shared_expert_count, 0);
  config["n_routed_experts"] = nullptr;
  EXPECT_EQ(Parse(config).moe, MoeConfig());
}

}  // namespace
}  // namespace fedtune
