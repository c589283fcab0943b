// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/peft_config.h"

#include <cmath>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using nlohmann::json;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr char kExperts[] = "model.layers.1.mlp.experts";

json Plain() {
  return {{"peft_type", "LORA"},
          {"r", 16},
          {"lora_alpha", 32},
          {"base_model_name_or_path", "base"},
          {"target_modules", "all-linear"}};
}

absl::StatusOr<PeftConfig> Parse(const json& config) {
  return ParsePeftConfig(config.dump(), "adapter_config.json");
}

TEST(PeftConfigTest, ReadsRankAndAlpha) {
  const auto config = Parse(Plain());
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->base_model, "base");
  EXPECT_EQ(config->RankOf("model.layers.0.self_attn.q_proj"), 16);
  EXPECT_EQ(config->AlphaOf("model.layers.0.self_attn.q_proj"), 32);
}

TEST(PeftConfigTest, WithoutRankAndAlphaTakesThoseOfPeft) {
  const auto config = Parse({{"peft_type", "LORA"}, {"target_modules", {"q_proj"}}});
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->RankOf("q_proj"), 8);
  EXPECT_EQ(config->AlphaOf("q_proj"), 8);
}

TEST(PeftConfigTest, TakesInitialFactorsThatLeaveTheBaseModelAsItIs) {
  json plain = Plain();
  for (const json& initial : {json(true), json(false), json(nullptr), json("gaussian"), json("eva"),
                              json("orthogonal"), json("mica")}) {
    plain["init_lora_weights"] = initial;
    EXPECT_THAT(Parse(plain), IsOk()) << initial;
  }
}

TEST(PeftConfigTest, TakesWhatIsSwitchedOff) {
  json plain = Plain();
  plain["use_bdlora"] = false;
  plain["layer_replication"] = nullptr;
  plain["modules_to_save"] = json::array();
  EXPECT_THAT(Parse(plain), IsOk());
}

TEST(PeftConfigTest, AppliesTheFirstPatternOfTheFile) {
  const auto config = ParsePeftConfig(
      R"({"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear",
          "rank_pattern": {"layers.1.self_attn.q_proj": 6, "q_proj": 4, "0.self_attn.q_proj": 3},
          "alpha_pattern": {".*\\.self_attn\\.(q|k)_proj": 5.5}})",
      "adapter_config.json");
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->RankOf("model.layers.0.self_attn.q_proj"), 4);
  EXPECT_EQ(config->RankOf("model.layers.1.self_attn.q_proj"), 6);
  EXPECT_EQ(config->RankOf("model.layers.1.self_attn.my_q_proj"), 16);
  EXPECT_EQ(config->AlphaOf("model.layers.0.self_attn.q_proj"), 5.5);
  EXPECT_EQ(config->AlphaOf("model.layers.0.self_attn.o_proj"), 32);
}

TEST(PeftConfigTest, APatternOfNothingIsNoOnes) {
  json plain = Plain();
  plain["rank_pattern"] = {{"(q_proj)?", 4}};
  const auto config = Parse(plain);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->RankOf("model.layers.0.self_attn.q_proj"), 4);
  EXPECT_EQ(config->RankOf("model.layers.0.self_attn.k_proj"), 16);
}

// What peft itself writes of gate_proj and up_proj in target_modules.
TEST(PeftConfigTest, HalvesWhatGateAndUpShare) {
  json plain = Plain();
  plain["rank_pattern"] = {{R"(.*\.gate_up_proj)", 32}};
  plain["alpha_pattern"] = {{R"(.*\.gate_up_proj)", 64}};
  for (const bool rslora : {false, true}) {
    plain["use_rslora"] = rslora;
    const auto config = Parse(plain);
    ASSERT_THAT(config, IsOk());
    const std::string gate = fmt::format("{}.3.gate_proj", kExperts);
    EXPECT_EQ(config->RankOf(gate), 16);
    EXPECT_DOUBLE_EQ(config->AlphaOf(gate) / 16, rslora ? 64 / std::sqrt(32.0) : 2);
    EXPECT_EQ(config->RankOf(fmt::format("{}.gate_up_proj", kExperts)), 32);
    EXPECT_EQ(config->RankOf(fmt::format("{}.3.down_proj", kExperts)), 16);
  }
}

TEST(PeftConfigTest, AppliesPatternsOfParameters) {
  json plain = Plain();
  plain["rank_pattern"] = {{"model.layers.1.mlp.shared_experts.up_proj.weight", 2},
                           {fmt::format("{}.gate_up_proj", kExperts), 8},
                           {fmt::format("{}.down_proj", kExperts), 4}};
  plain["target_parameters"] = {"shared_experts.up_proj.weight"};
  plain["alpha_pattern"] = {{fmt::format("{}.gate_up_proj", kExperts), 10}};
  const auto config = Parse(plain);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->RankOf("model.layers.1.mlp.shared_experts.up_proj"), 2);
  EXPECT_EQ(config->RankOf(fmt::format("{}.7.gate_proj", kExperts)), 4);
  EXPECT_EQ(config->RankOf(fmt::format("{}.7.down_proj", kExperts)), 4);
  EXPECT_EQ(config->AlphaOf(fmt::format("{}.7.up_proj", kExperts)), 5);
  EXPECT_EQ(config->AlphaOf(fmt::format("{}.7.down_proj", kExperts)), 32);
}

TEST(PeftConfigTest, OfATargetParameterOnlyPatternsOfItsOwnNameCount) {
  json plain = Plain();
  plain["target_parameters"] = {"mlp.gate_proj.weight"};
  plain["rank_pattern"] = {{"gate_proj", 4}, {"up_proj.weight", 2}};
  plain["alpha_pattern"] = {{"gate_proj", 5}, {R"(.*gate_proj\.weight)", 6}};
  const auto config = Parse(plain);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->RankOf("model.layers.0.mlp.gate_proj"), 16);
  EXPECT_EQ(config->AlphaOf("model.layers.0.mlp.gate_proj"), 6);
  EXPECT_EQ(config->RankOf("model.layers.1.mlp.shared_experts.gate_proj"), 4);
  EXPECT_EQ(config->AlphaOf("model.layers.1.mlp.shared_experts.gate_proj"), 5);
  EXPECT_EQ(config->RankOf("model.layers.0.mlp.up_proj"), 16);
}

TEST(PeftConfigTest, ScalesByTheRootOfTheRankWhenStabilised) {
  json plain = Plain();
  plain["use_rslora"] = true;
  const auto config = Parse(plain);
  ASSERT_THAT(config, IsOk());
  EXPECT_DOUBLE_EQ(config->AlphaOf("x") / 16, 32 / std::sqrt(16.0));
}

struct Fault {
  const char* path;
  json value;
  const char* problem;
};

class FaultyPeftConfigTest : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultyPeftConfigTest, IsRefused) {
  json plain = Plain();
  plain[json::json_pointer(GetParam().path)] = GetParam().value;
  const auto config = Parse(plain);
  ASSERT_THAT(config, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(config.status().message()), HasSubstr(GetParam().problem));
}

INSTANTIATE_TEST_SUITE_P(
    PeftConfigTest, FaultyPeftConfigTest,
    ::testing::Values(Fault{"/peft_type", "IA3", "peft_type is \"IA3\", not \"LORA\""},
                      Fault{"/peft_type", nullptr, "peft_type is \"\""}, Fault{"/r", 0, "r is 0"},
                      Fault{"/r", nullptr, "r is null"},
                      Fault{"/lora_alpha", nullptr, "lora_alpha is null"},
                      Fault{"/lora_alpha", "x", "lora_alpha is not a number"},
                      Fault{"/use_dora", true, "use_dora is true"},
                      Fault{"/fan_in_fan_out", true, "fan_in_fan_out is true"},
                      Fault{"/bias", "all", "bias is trained"},
                      Fault{"/modules_to_save", {"lm_head"}, "modules_to_save is not supported"},
                      Fault{"/trainable_token_indices", {3}, "trainable_token_indices is not"},
                      Fault{"/layer_replication", {{0, 1}}, "layer_replication is not supported"},
                      Fault{"/alora_invocation_tokens", {3}, "alora_invocation_tokens is not"},
                      Fault{"/use_bdlora", {{"nblocks", 2}}, "use_bdlora is not supported"},
                      Fault{"/arrow_config", {{"top_k", 2}}, "arrow_config is not supported"},
                      Fault{"/kasa_config", {{"beta", 1}}, "kasa_config is not supported"},
                      Fault{"/kasa_config", json::object(), "kasa_config is not supported"},
                      Fault{"/monteclora_config", {{"a", 1}}, "monteclora_config is not supported"},
                      Fault{"/init_lora_weights", "pissa_niter_4",
                            "init_lora_weights is \"pissa_niter_4\", which changes weights of the "
                            "base model, too; save the adapter with peft's "
                            "path_initial_model_for_weight_conversion"},
                      Fault{"/init_lora_weights", "olora", "init_lora_weights is \"olora\""},
                      Fault{"/init_lora_weights", "loftq", "init_lora_weights is \"loftq\""},
                      Fault{"/rank_pattern", 3, "rank_pattern is not an object"},
                      Fault{"/rank_pattern", {{"q_proj", 0}}, "in rank_pattern: q_proj is 0"},
                      Fault{"/target_modules", nullptr, "target_modules names none, for which"},
                      Fault{"/target_modules", json::array(), "target_modules names none"},
                      Fault{"/target_parameters", "all", "target_parameters is not a list"},
                      Fault{
                          "/alpha_pattern", {{"q_(", 3}}, "\"q_(\" is not a regular expression"}));

// Each of a module's names would be compared with each of them.
TEST(PeftConfigTest, RefusesMoreExpressionsThanAnyModelNeedsAndTakesAsManyNames) {
  json plain = Plain();
  for (int i = 0; i < 5'000; ++i) plain["rank_pattern"][fmt::format("layers.{}.q_proj", i)] = 4;
  EXPECT_THAT(Parse(plain), IsOk());
  for (int i = 0; i < 1'001; ++i) plain["rank_pattern"][fmt::format("q_proj|{}", i)] = 4;
  const auto refused = Parse(plain);
  ASSERT_THAT(refused, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("rank_pattern has more than 1000 expressions"));
}

// Compiled, a short one can take 60 KB.
TEST(PeftConfigTest, ReadsNoMoreExpressionsThanItTakes) {
  json plain = Plain();
  for (int i = 0; i < 1'001; ++i) plain["rank_pattern"][fmt::format("q_proj|{}", i)] = 4;
  plain["rank_pattern"]["z_("] = 4;  // The last one.
  const auto refused = Parse(plain);
  ASSERT_THAT(refused, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(refused.status().message()), Not(HasSubstr("z_(")));
}

TEST(PeftConfigTest, RefusesWhatIsNoObject) {
  EXPECT_THAT(Parse(json::array()), HasCode(absl::StatusCode::kInvalidArgument));
}

AdapterModule Module(const std::string& name, int64_t rank, double alpha) {
  return {.name = name, .in_features = 32, .out_features = 32, .lora_rank = rank, .alpha = alpha};
}

std::string ConfigOf(std::vector<AdapterModule> modules, const PeftConfigForm& form = {}) {
  const auto layout = AdapterLayout::Create(std::move(modules));
  EXPECT_THAT(layout, IsOk());
  return PeftConfigJson(*layout, "base", form);
}

TEST(PeftConfigJsonTest, NamesAttentionAsModulesAndTheRestAsParameters) {
  const std::string text = ConfigOf({Module("model.layers.0.self_attn.q_proj", 4, 8),
                                     Module("model.layers.0.mlp.up_proj", 4, 8),
                                     Module("model.layers.1.self_attn.q_proj", 2, 8),
                                     Module("model.layers.1.mlp.shared_experts.up_proj", 4, 3.5)});
  const json config = json::parse(text);
  EXPECT_EQ(config["r"], 4);
  EXPECT_EQ(config["lora_alpha"], 8);
  EXPECT_EQ(config["target_modules"],
            (json{"model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"}));
  EXPECT_EQ(config["target_parameters"],
            (json{"model.layers.0.mlp.up_proj.weight",
                  "model.layers.1.mlp.shared_experts.up_proj.weight"}));
  EXPECT_EQ(config["rank_pattern"], (json{{"model.layers.1.self_attn.q_proj", 2}}));
  EXPECT_EQ(config["alpha_pattern"],
            (json{{"model.layers.1.mlp.shared_experts.up_proj.weight", 3.5}}));
}

TEST(PeftConfigJsonTest, NamesAllAsModulesWhereTheBaseHasNoExperts) {
  const std::string text = ConfigOf(
      {Module("model.layers.0.self_attn.q_proj", 4, 8), Module("model.layers.0.mlp.up_proj", 2, 8)},
      {.rslora = false, .base_has_experts = false});
  const json config = json::parse(text);
  EXPECT_EQ(config["target_modules"],
            (json{"model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"}));
  EXPECT_EQ(config["target_parameters"], json::array());
  const auto read = ParsePeftConfig(text, "adapter_config.json");
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->RankOf("model.layers.0.self_attn.q_proj"), 4);
  EXPECT_EQ(read->RankOf("model.layers.0.mlp.up_proj"), 2);
}

// Every projection of `count` experts.
std::vector<AdapterModule> Experts(int64_t count) {
  std::vector<AdapterModule> modules;
  for (int64_t i = 0; i < count; ++i) {
    for (const char* projection : {"gate_proj", "up_proj", "down_proj"}) {
      modules.push_back(Module(fmt::format("{}.{}.{}", kExperts, i, projection), 2, 4));
    }
  }
  return modules;
}

TEST(PeftConfigJsonTest, DoublesTheRankOfFusedExperts) {
  const std::string text = ConfigOf(Experts(3));
  const json config = json::parse(text);
  const std::string gate_up = fmt::format("{}.gate_up_proj", kExperts);
  EXPECT_EQ(config["target_parameters"], (json{gate_up, fmt::format("{}.down_proj", kExperts)}));
  EXPECT_EQ(config["rank_pattern"][gate_up], 4);
  EXPECT_EQ(config["alpha_pattern"][gate_up], 8);
  const auto read = ParsePeftConfig(text, "adapter_config.json");
  ASSERT_THAT(read, IsOk());
  for (const AdapterModule& module : Experts(3)) {
    EXPECT_EQ(read->RankOf(module.name), 2);
    EXPECT_EQ(read->AlphaOf(module.name), 4);
  }
}

TEST(PeftConfigJsonTest, SaysRsLoraWithTheSameScales) {
  std::vector<AdapterModule> modules = Experts(2);
  modules.push_back(Module("model.layers.1.self_attn.q_proj", 4, 32 * std::sqrt(4.0)));
  modules.push_back(Module("model.layers.1.self_attn.o_proj", 3, 32 * std::sqrt(3.0)));
  const json config = json::parse(ConfigOf(modules, {.rslora = true, .base_has_experts = true}));
  EXPECT_EQ(config["use_rslora"], true);
  EXPECT_EQ(config["lora_alpha"], 32) << "no digits of a root are left";
  EXPECT_EQ(config["alpha_pattern"].size(), 2U) << "of the two parameters of experts";
  const auto read = Parse(config);
  ASSERT_THAT(read, IsOk());
  for (const AdapterModule& module : modules) {
    EXPECT_EQ(read->RankOf(module.name), module.lora_rank);
    EXPECT_NEAR(read->AlphaOf(module.name), module.alpha, 1e-10);
  }
}

}  // namespace
}  // namespace fedtune
