// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/model_config.h"

#include "base/files.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"

namespace fedtune {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

// DeepSeek-V2-Lite's published configuration.
json Lite() {
  return json::parse(R"({
    "architectures": ["DeepseekV2ForCausalLM"], "attention_bias": false, "aux_loss_alpha": 0.001,
    "bos_token_id": 100000, "eos_token_id": 100001, "first_k_dense_replace": 1,
    "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 10944, "kv_lora_rank": 512,
    "max_position_embeddings": 163840, "model_type": "deepseek_v2", "moe_intermediate_size": 1408,
    "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 64, "n_shared_experts": 2,
    "norm_topk_prob": false, "num_attention_heads": 16, "num_experts_per_tok": 6,
    "num_hidden_layers": 27, "num_key_value_heads": 16, "q_lora_rank": null,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
    "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707,
      "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096, "type": "yarn"},
    "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax",
    "tie_word_embeddings": false, "topk_group": 1, "topk_method": "greedy",
    "torch_dtype": "bfloat16", "v_head_dim": 128, "vocab_size": 102400})");
}

absl::StatusOr<ModelConfig> Parse(const json& config) {
  return ParseModelConfig(config.dump(), "config.json");
}

std::string ErrorOf(const json& config) {
  const auto parsed = Parse(config);
  EXPECT_THAT(parsed, HasCode(absl::StatusCode::kInvalidArgument));
  return parsed.ok() ? "" : std::string(parsed.status().message());
}

TEST(ModelConfigTest, ReadsDeepSeekV2Lite) {
  const auto config = Parse(Lite());
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->hidden_size, 2048);
  EXPECT_EQ(std::get<MlaConfig>(config->attention).q_lora_rank, 0);
  EXPECT_EQ(std::get<MlaConfig>(config->attention).qk_head_dim(), 192);
  EXPECT_EQ(config->moe.experts_per_token, 6);
  EXPECT_FALSE(config->IsMoeLayer(0));
  EXPECT_TRUE(config->IsMoeLayer(1));
  ASSERT_TRUE(config->rope.yarn.has_value());
  EXPECT_EQ(config->rope.yarn->original_context_length, 4096);
  EXPECT_NEAR(config->rope.softmax_factor, 1.58962617, 1e-8);
  EXPECT_DOUBLE_EQ(config->rope.yarn->RotaryFactor(), 1.0);
  EXPECT_EQ(config->bos_token, 100000);
  EXPECT_THAT(config->eos_tokens, ElementsAre(100001));
}

TEST(ModelConfigTest, ReadsGroupsAndLowRankQueries) {
  json config = Lite();
  config["topk_method"] = "group_limited_greedy";
  config["n_group"] = 8;
  config["topk_group"] = 3;
  config["q_lora_rank"] = 1536;
  const auto parsed = Parse(config);
  ASSERT_THAT(parsed, IsOk());
  EXPECT_EQ(parsed->moe.choice, ExpertChoice::kGroupLimitedGreedy);
  EXPECT_EQ(parsed->moe.groups_per_token, 3);
  EXPECT_EQ(std::get<MlaConfig>(parsed->attention).q_lora_rank, 1536);
}

TEST(ModelConfigTest, ReadsAModelWithoutExperts) {
  json config = Lite();
  config["n_routed_experts"] = nullptr;
  const auto parsed = Parse(config);
  ASSERT_THAT(parsed, IsOk());
  EXPECT_FALSE(parsed->IsMoeLayer(5));
}

TEST(ModelConfigTest, ReadsSeveralEndTokens) {
  json config = Lite();
  config["eos_token_id"] = {1, 7};
  EXPECT_THAT(Parse(config)->eos_tokens, ElementsAre(1, 7));
}

TEST(ModelConfigTest, SaysOfAnotherQuantisationNothingButItsName) {
  json config = Lite();
  config["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 4}};
  EXPECT_THAT(
      std::string(Parse(config).status().message()),
      ::testing::EndsWith("in quantization_config: quant_method is \"gptq\" with the format "
                          "\"e4m3\"; only \"fp8\" with \"e4m3\" is supported"));
}

TEST(ModelConfigTest, NormalisesNoWeightsOfDeepSeekV2AsTransformersDoesNot) {
  json config = Lite();
  config["norm_topk_prob"] = true;
  ASSERT_THAT(Parse(config), IsOk());
  EXPECT_FALSE(Parse(config)->moe.normalize_weights);
}

TEST(ModelConfigTest, KnowsTheOtherNameOfTheActivation) {
  json config = Lite();
  config["hidden_act"] = "swish";
  EXPECT_THAT(Parse(config), IsOk());
}

TEST(ModelConfigTest, RefusesAnotherArchitectureByName) {
  json config = Lite();
  config["model_type"] = "mamba";
  EXPECT_EQ(ErrorOf(config),
            "config.json: model_type \"mamba\" is not supported; these are: llama, deepseek, "
            "deepseek_v2, deepseek_v3, deepseek_v32");
}

TEST(ModelConfigTest, RefusesWhatIsNoConfiguration) {
  EXPECT_THAT(ErrorOf(json::array()), HasSubstr("no model_type"));
  EXPECT_THAT(ErrorOf({{"model_type", 2}}), HasSubstr("no model_type"));
  EXPECT_THAT(ParseModelConfig("{", "config.json"), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(ModelConfigTest, ListsEverythingThatIsMissing) {
  const std::string error = ErrorOf({{"model_type", "deepseek_v2"}});
  EXPECT_THAT(error, HasSubstr("config.json: hidden_size is missing"));
  EXPECT_THAT(error, HasSubstr("config.json: num_experts_per_tok is missing"));
}

struct Fault {
  const char* path;
  json value;
  const char* problem;
};

class FaultyConfigTest : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultyConfigTest, IsRefused) {
  json config = Lite();
  config[json::json_pointer(GetParam().path)] = GetParam().value;
  EXPECT_THAT(ErrorOf(config), HasSubstr(GetParam().problem));
}

INSTANTIATE_TEST_SUITE_P(
    ModelConfigTest, FaultyConfigTest,
    ::testing::Values(
        Fault{"/hidden_size", 0, "hidden_size is 0"},
        Fault{"/hidden_size", -4, "hidden_size is -4"},
        Fault{"/hidden_size", 1e18, "hidden_size is"},
        Fault{"/hidden_size", "2048", "hidden_size is not a number"},
        Fault{"/hidden_size", 1.5, "hidden_size is not a whole number"},
        Fault{"/num_hidden_layers", 100000, "num_hidden_layers is"},
        Fault{"/vocab_size", nullptr, "vocab_size is missing"},
        Fault{"/num_experts_per_tok", 65, "num_experts_per_tok is 65"},
        Fault{"/n_routed_experts", 8192, "n_routed_experts is"},
        Fault{"/qk_rope_head_dim", 63, "qk_rope_head_dim is odd"},
        Fault{"/num_key_value_heads", 4, "num_key_value_heads differs"},
        Fault{"/rms_norm_eps", 0, "rms_norm_eps is 0"},
        Fault{"/hidden_act", "gelu", "hidden_act is \"gelu\""},
        Fault{"/attention_bias", "yes", "attention_bias is neither true nor false"},
        Fault{"/mlp_bias", 1, "mlp_bias is neither true nor false"},
        Fault{"/norm_topk_prob", 1, "norm_topk_prob is neither true nor false"},
        Fault{"/scoring_func", "sigmoid", "scoring_func is \"sigmoid\""},
        Fault{"/topk_method", "noaux_tc", "topk_method is \"noaux_tc\""},
        Fault{"/topk_method", 7, "topk_method is not a text"},
        Fault{"/rope_theta", 0, "rope_theta is 0"},
        Fault{"/rope_scaling", 3, "rope_scaling is not an object"},
        Fault{"/eos_token_id", json::array({-1}), "eos_token_id is not a list of tokens"},
        Fault{"/eos_token_id", "end", "eos_token_id is not a number"},
        Fault{"/quantization_config", json::object(), "in quantization_config: quant_method is"},
        Fault{"/quantization_config", json({{"quant_method", "bitsandbytes"}}),
              "quant_method is \"bitsandbytes\""},
        Fault{"/quantization_config", json({{"quant_method", "fp8"}, {"weight_block_size", {128}}}),
              "weight_block_size is not two numbers"},
        Fault{"/quantization_config",
              json({{"quant_method", "fp8"}, {"weight_block_size", {0, 128}}}),
              "weight_block_size is not two numbers"}));

// DeepSeek-V3's published configuration.
json V3() {
  return json::parse(R"({
    "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": false, "bos_token_id": 0,
    "eos_token_id": 1, "ep_size": 1, "first_k_dense_replace": 3, "hidden_act": "silu",
    "hidden_size": 7168, "intermediate_size": 18432, "kv_lora_rank": 512,
    "max_position_embeddings": 163840, "model_type": "deepseek_v3", "moe_intermediate_size": 2048,
    "moe_layer_freq": 1, "n_group": 8, "n_routed_experts": 256, "n_shared_experts": 1,
    "norm_topk_prob": true, "num_attention_heads": 128, "num_experts_per_tok": 8,
    "num_hidden_layers": 61, "num_key_value_heads": 128, "num_nextn_predict_layers": 1,
    "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
      "weight_block_size": [128, 128]},
    "rms_norm_eps": 1e-06, "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40,
      "mscale": 1.0, "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096,
      "type": "yarn"},
    "rope_theta": 10000, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid",
    "tie_word_embeddings": false, "topk_group": 4, "topk_method": "noaux_tc",
    "torch_dtype": "bfloat16", "v_head_dim": 128, "vocab_size": 129280})");
}

TEST(ModelConfigTest, ReadsDeepSeekV3) {
  const auto config = Parse(V3());
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->moe.scores, RouterScores::kSigmoid);
  EXPECT_EQ(config->moe.choice, ExpertChoice::kBiasedGroups);
  EXPECT_EQ(config->moe.weight_scaling, WeightScaling::kNormalizeAndScale);
  EXPECT_TRUE(config->moe.normalize_weights);
  EXPECT_EQ(config->fp8_blocks, (Fp8Blocks{128, 128}));
  EXPECT_EQ(config->rope.pairs, RotaryPairs::kNeighbours);
  EXPECT_NEAR(config->rope.softmax_factor, 1.87385421, 1e-8);
  // The layers for predicting several tokens ahead are none of the model's.
  EXPECT_EQ(LinearLayers(*config).size(), 61U * 5 + 3 * 3 + 58 * (1 + 256 * 3 + 3) + 1);
}

TEST(ModelConfigTest, DeepSeekV3NormalisesWeightsUnlessItSaysOtherwise) {
  json config = V3();
  config.erase("norm_topk_prob");
  EXPECT_TRUE(Parse(config)->moe.normalize_weights);
  config["norm_topk_prob"] = false;
  EXPECT_FALSE(Parse(config)->moe.normalize_weights);
}

TEST(ModelConfigTest, TheSparseAttentionOfDeepSeekV32BoundsTheContext) {
  json config = V3();
  config["model_type"] = "deepseek_v32";
  config["index_topk"] = 2048;
  EXPECT_EQ(Parse(config)->context_length, 2048);
  config["mlp_layer_types"] = json::array({"dense"});
  EXPECT_THAT(ErrorOf(config), HasSubstr("mlp_layer_types contradicts first_k_dense_replace"));
}

TEST(ModelConfigTest, ReadsDeepSeekLlmAndItsMixtureOfExperts) {
  json config = json::parse(R"({
    "model_type": "llama", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008,
    "max_position_embeddings": 4096, "num_attention_heads": 32, "num_hidden_layers": 30,
    "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": {"type": "linear",
    "factor": 4.0}, "rope_theta": 100000, "vocab_size": 102400})");
  const auto llama = Parse(config);
  ASSERT_THAT(llama, IsOk());
  EXPECT_EQ(std::get<GqaConfig>(llama->attention), (GqaConfig{8, 128}));
  EXPECT_EQ(llama->rope, (RopeConfig{.theta = 100000,
                                     .linear_factor = 4.0,
                                     .yarn = std::nullopt,
                                     .llama3 = std::nullopt,
                                     .longrope = std::nullopt,
                                     .pairs = RotaryPairs::kHalves}));
  EXPECT_EQ(LinearLayers(*llama).size(), 30U * 7 + 1);
  config["rope_scaling"] = {{"factor", 8.0},
                            {"high_freq_factor", 3.0},
                            {"low_freq_factor", 2.0},
                            {"original_max_position_embeddings", 8192},
                            {"rope_type", "llama3"}};
  EXPECT_EQ(Parse(config)->rope.llama3, (Llama3Scaling{8, 8192, 2, 3}));
  config.update({{"model_type", "deepseek"},
                 {"n_routed_experts", 64},
                 {"n_shared_experts", 2},
                 {"num_experts_per_tok", 6},
                 {"moe_intermediate_size", 1408},
                 {"first_k_dense_replace", 1}});
  const auto mixture = Parse(config);
  ASSERT_THAT(mixture, IsOk());
  EXPECT_TRUE(mixture->IsMoeLayer(1));
  EXPECT_EQ(LinearLayers(*mixture).size(), 30U * 4 + 3 + 29 * (1 + 64 * 3 + 3) + 1);
  config["scoring_func"] = "sigmoid";
  EXPECT_THAT(ErrorOf(config), HasSubstr("this architecture has \"softmax\""));
}

TEST(ModelConfigTest, RefusesHeadsThatDoNotFit) {
  json config = {{"model_type", "llama"},    {"hidden_size", 40},
                 {"intermediate_size", 8},   {"max_position_embeddings", 16},
                 {"num_attention_heads", 4}, {"num_hidden_layers", 1},
                 {"rms_norm_eps", 1e-6},     {"vocab_size", 8}};
  EXPECT_THAT(Parse(config), IsOk());
  config["num_key_value_heads"] = 3;
  EXPECT_THAT(ErrorOf(config), HasSubstr("num_key_value_heads does not divide"));
  config["num_key_value_heads"] = 2;
  config["head_dim"] = 7;
  EXPECT_THAT(ErrorOf(config), HasSubstr("head_dim gives heads an odd width"));
  config["head_dim"] = nullptr;
  config["num_attention_heads"] = 6;
  EXPECT_THAT(ErrorOf(config), HasSubstr("num_attention_heads does not divide hidden_size"));
}

class FaultyV3Test : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultyV3Test, IsRefused) {
  json config = V3();
  config[json::json_pointer(GetParam().path)] = GetParam().value;
  EXPECT_THAT(ErrorOf(config), HasSubstr(GetParam().problem));
}

INSTANTIATE_TEST_SUITE_P(
    ModelConfigTest, FaultyV3Test,
    ::testing::Values(Fault{"/scoring_func", "softmax", "this architecture has \"sigmoid\""},
                      Fault{"/topk_method", "greedy", "this architecture has \"noaux_tc\""},
                      Fault{"/routed_scaling_factor", nullptr, "routed_scaling_factor is null"},
                      Fault{"/n_group", nullptr, "n_group is null"},
                      Fault{"/n_group", 256, "n_group leaves a group with too few experts"}));

class FaultyGroupsTest : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultyGroupsTest, AreRefused) {
  json config = Lite();
  config["topk_method"] = "group_limited_greedy";
  config["n_group"] = 8;
  config["topk_group"] = 3;
  config[json::json_pointer(GetParam().path)] = GetParam().value;
  EXPECT_THAT(ErrorOf(config), HasSubstr(GetParam().problem));
}

INSTANTIATE_TEST_SUITE_P(
    ModelConfigTest, FaultyGroupsTest,
    ::testing::Values(Fault{"/n_group", 7, "n_group does not divide"},
                      Fault{"/n_group", 0, "n_group is 0"},
                      Fault{"/topk_group", 9, "topk_group is more than n_group"},
                      Fault{"/topk_group", nullptr, "topk_group is missing"},
                      Fault{"/num_experts_per_tok", 25, "more than topk_group groups have"}));

std::vector<std::string> BiasedLayers(const json& config) {
  std::vector<std::string> names;
  for (const LinearLayer& layer : LinearLayers(*Parse(config))) {
    if (layer.has_bias) names.push_back(layer.name);
  }
  return names;
}

TEST(ModelConfigTest, LatentAttentionHasBiasesAtItsEnds) {
  json config = V3();
  config["num_hidden_layers"] = 1;
  config["mlp_bias"] = true;  // Which transformers' V3 does not read.
  EXPECT_THAT(BiasedLayers(config), ElementsAre());
  config["attention_bias"] = true;
  const std::string attention = "model.layers.0.self_attn.";
  EXPECT_THAT(
      BiasedLayers(config),
      ElementsAre(attention + "q_a_proj", attention + "kv_a_proj_with_mqa", attention + "o_proj"));
  config["q_lora_rank"] = nullptr;
  EXPECT_THAT(BiasedLayers(config),
              ElementsAre(attention + "kv_a_proj_with_mqa", attention + "o_proj"));
}

TEST(ModelConfigTest, MlpsHaveBiasesButThoseOfRoutedExperts) {
  json config = Lite();
  config["num_hidden_layers"] = 2;
  config["mlp_bias"] = true;
  const std::string dense = "model.layers.0.mlp.", shared = "model.layers.1.mlp.shared_experts.";
  EXPECT_THAT(BiasedLayers(config),
              ElementsAre(dense + "gate_proj", dense + "up_proj", dense + "down_proj",
                          shared + "gate_proj", shared + "up_proj", shared + "down_proj"));
  config["model_type"] = "deepseek";
  EXPECT_THAT(BiasedLayers(config), ElementsAre());
}

TEST(ModelConfigTest, NamesTheLayersOfDeepSeekV2Lite) {
  const std::vector<LinearLayer> layers = LinearLayers(*Parse(Lite()));
  // Four of attention each; a dense MLP; router, experts and shared experts; the head.
  EXPECT_EQ(layers.size(), 27U * 4 + 3 + 26 * (1 + 64 * 3 + 3) + 1);
  EXPECT_EQ(layers[0], (LinearLayer{"model.layers.0.self_attn.q_proj", LayerKind::kAttention, 2048,
                                    16 * 192}));
  EXPECT_EQ(layers[1], (LinearLayer{"model.layers.0.self_attn.kv_a_proj_with_mqa",
                                    LayerKind::kAttention, 2048, 576}));
  EXPECT_EQ(layers.back(), (LinearLayer{"lm_head", LayerKind::kHead, 2048, 102400}));
}

TEST(ModelConfigTest, CountsTheDefaultAdapterOfDeepSeekV2Lite) {
  int64_t parameters = 0;
  for (const LinearLayer& layer : LinearLayers(*Parse(Lite()))) {
    const bool adapted = layer.kind == LayerKind::kAttention ||
                         layer.kind == LayerKind::kSharedExpert ||
                         layer.kind == LayerKind::kDenseMlp;
    if (adapted) parameters += 16 * (layer.in_features + layer.out_features);
  }
  EXPECT_NEAR(static_cast<double>(parameters), 13.80e6, 0.01e6);
}

TEST(ModelConfigTest, SaysThatThereIsNoConfiguration) {
  EXPECT_THAT(ReadModelConfig("/nowhere"), HasCode(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace fedtune
