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
  return {
      {"peft_type", "LORA"}, {"r", 16}, {"lora_alpha", 32}, {"base_model_name_or_path", "base"}};
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

TEST(PeftConfigTest, AppliesTheLongestPattern) {
  json plain = Plain();
  plain["rank_pattern"] = {{"q_proj", 4}, {"layers.1.self_attn.q_proj", 6}};
  plain["alpha_pattern"] = {{"q_proj", 5.5}};
  const auto config = Parse(plain);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->RankOf("model.layers.0.self_attn.q_proj"), 4);
  EXPECT_EQ(config->RankOf("model.layers.1.self_attn.q_proj"), 6);
  EXPECT_EQ(config->RankOf("model.layers.1.self_attn.my_q_proj"), 16);
  EXPECT_EQ(config->AlphaOf("model.layers.0.self_attn.q_proj"), 5.5);
}

TEST(PeftConfigTest, AppliesPatternsOfParameters) {
  json plain = Plain();
  plain["rank_pattern"] = {{"model.layers.1.mlp.shared_experts.up_proj.weight", 2},
                           {fmt::format("{}.gate_up_proj", kExperts), 8},
                           {fmt::format("{}.down_proj", kExperts), 4}};
  plain["alpha_pattern"] = {{fmt::format("{}.gate_up_proj", kExperts), 10}};
  const auto config = Parse(plain);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->RankOf("model.layers.1.mlp.shared_experts.up_proj"), 2);
  EXPECT_EQ(config->RankOf(fmt::format("{}.7.gate_proj", kExperts)), 4);
  EXPECT_EQ(config->RankOf(fmt::format("{}.7.down_proj", kExperts)), 4);
  EXPECT_EQ(config->AlphaOf(fmt::format("{}.7.up_proj", kExperts)), 5);
  EXPECT_EQ(config->AlphaOf(fmt::format("{}.7.down_proj", kExperts)), 32);
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
                      Fault{"/r", nullptr, "r is missing"},
                      Fault{"/lora_alpha", "x", "lora_alpha is not a number"},
                      Fault{"/use_dora", true, "use_dora is true"},
                      Fault{"/fan_in_fan_out", true, "fan_in_fan_out is true"},
                      Fault{"/bias", "all", "bias is trained"},
                      Fault{"/modules_to_save", {"lm_head"}, "modules_to_save is not supported"},
                      Fault{"/rank_pattern", 3, "rank_pattern is not an object"},
                      Fault{"/rank_pattern", {{"q_proj", 0}}, "in rank_pattern: q_proj is 0"},
                      Fault{"/rank_pattern", {{"experts.gate_up_proj", 1}}, "has an odd rank"},
                      Fault{"/alpha_pattern", {{".*q", 3}}, ".*q is a regular expression"}));

TEST(PeftConfigTest, RefusesWhatIsNoObject) {
  EXPECT_THAT(Parse(json::array()), HasCode(absl::StatusCode::kInvalidArgument));
}

AdapterModule Module(const std::string& name, int64_t rank, double alpha) {
  return {.name = name, .in_features = 32, .out_features = 32, .lora_rank = rank, .alpha = alpha};
}

absl::StatusOr<std::string> ConfigOf(std::vector<AdapterModule> modules) {
  const auto layout = AdapterLayout::Create(std::move(modules));
  EXPECT_THAT(layout, IsOk());
  return PeftConfigJson(*layout, "base");
}

TEST(PeftConfigJsonTest, NamesAttentionAsModulesAndTheRestAsParameters) {
  const auto text = ConfigOf({Module("model.layers.0.self_attn.q_proj", 4, 8),
                              Module("model.layers.0.mlp.up_proj", 4, 8),
                              Module("model.layers.1.self_attn.q_proj", 2, 8),
                              Module("model.layers.1.mlp.shared_experts.up_proj", 4, 3.5)});
  ASSERT_THAT(text, IsOk());
  const json config = json::parse(*text);
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
  const auto text = ConfigOf(Experts(3));
  ASSERT_THAT(text, IsOk());
  const json config = json::parse(*text);
  const std::string gate_up = fmt::format("{}.gate_up_proj", kExperts);
  EXPECT_EQ(config["target_parameters"], (json{gate_up, fmt::format("{}.down_proj", kExperts)}));
  EXPECT_EQ(config["rank_pattern"][gate_up], 4);
  EXPECT_EQ(config["alpha_pattern"][gate_up], 8);
  const auto read = ParsePeftConfig(*text, "adapter_config.json");
  ASSERT_THAT(read, IsOk());
  for (const AdapterModule& module : Experts(3)) {
    EXPECT_EQ(read->RankOf(module.name), 2);
    EXPECT_EQ(read->AlphaOf(module.name), 4);
  }
}

TEST(PeftConfigJsonTest, RefusesExpertsWithAGap) {
  std::vector<AdapterModule> modules = Experts(3);
  modules.erase(modules.begin() + 3, modules.begin() + 6);
  EXPECT_THAT(ConfigOf(modules), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(PeftConfigJsonTest, RefusesAnExpertWithoutOneProjection) {
  std::vector<AdapterModule> modules = Experts(3);
  modules.pop_back();
  EXPECT_THAT(ConfigOf(modules), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(PeftConfigJsonTest, RefusesExpertsOfUnequalRanks) {
  std::vector<AdapterModule> modules = Experts(3);
  modules.back().lora_rank = 1;
  EXPECT_THAT(ConfigOf(modules), HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(PeftConfigJsonTest, RefusesGateWithoutUp) {
  EXPECT_THAT(ConfigOf({Module(fmt::format("{}.0.gate_proj", kExperts), 2, 4)}),
              HasCode(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace fedtune
