// SPDX-License-Identifier: Apache-2.0

// Rotary positions, as config.json stretches them.

#include <cmath>

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

// As much of DeepSeek-V2-Lite as rotary positions depend on.
json Lite() {
  return json::parse(R"({
    "model_type": "deepseek_v2", "hidden_size": 2048, "intermediate_size": 10944,
    "kv_lora_rank": 512, "max_position_embeddings": 163840, "n_routed_experts": null,
    "num_attention_heads": 16, "num_hidden_layers": 1, "q_lora_rank": null,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707,
      "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096, "type": "yarn"},
    "rope_theta": 10000, "v_head_dim": 128, "vocab_size": 8})");
}

// A Llama of 16 values a head, 8 pairs.
json Llama() {
  return {{"model_type", "llama"},    {"hidden_size", 64}, {"num_hidden_layers", 4},
          {"num_attention_heads", 4}, {"vocab_size", 8},   {"intermediate_size", 32}};
}

absl::StatusOr<ModelConfig> Parse(const json& config) {
  return ParseModelConfig(config.dump(), "config.json");
}

void ExpectRefused(const json& config, std::string_view reason) {
  const auto parsed = Parse(config);
  EXPECT_THAT(parsed, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(parsed.status().message()), HasSubstr(std::string(reason)));
}

TEST(RopeConfigTest, ReadsRopeParametersAsRopeScaling) {
  json config = Lite();
  config["rope_parameters"] = config["rope_scaling"];
  config["rope_parameters"]["rope_theta"] = 10000.0;
  config["rope_parameters"]["rope_type"] = "yarn";
  config["rope_parameters"]["original_max_position_embeddings"] = 4096.0;
  config.erase("rope_scaling");
  config.erase("rope_theta");
  const auto parsed = Parse(config);
  ASSERT_THAT(parsed, IsOk());
  EXPECT_EQ(*parsed, *Parse(Lite()));
}

TEST(RopeConfigTest, GoesByRopeScalingWhereRopeParametersStretchInAnotherWay) {
  json config = Lite();
  config["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 3}, {"rope_theta", 500.0}};
  config.erase("rope_theta");
  const auto yarn = Parse(config);
  ASSERT_THAT(yarn, IsOk());
  EXPECT_EQ(yarn->rope.yarn, Parse(Lite())->rope.yarn);
  EXPECT_EQ(yarn->rope.linear_factor, 1);
  EXPECT_EQ(yarn->rope.theta, 10000);
  config["rope_scaling"] = json::object();
  EXPECT_EQ(Parse(config)->rope.linear_factor, 3);
  EXPECT_EQ(Parse(config)->rope.theta, 500);
}

TEST(RopeConfigTest, ReadsPlainRope) {
  json config = Lite();
  config["rope_scaling"] = nullptr;
  config["rope_theta"] = 50000;
  EXPECT_EQ(Parse(config)->rope, (RopeConfig{.theta = 50000}));
}

TEST(RopeConfigTest, ScalesAttentionByTheFactorAloneWithoutMscale) {
  json config = Lite();
  config["rope_scaling"] = {{"type", "yarn"}, {"factor", 40}};
  const RopeConfig rope = Parse(config)->rope;
  EXPECT_NEAR(rope.Magnitude(), 1.3688879, 1e-6);
  EXPECT_DOUBLE_EQ(rope.softmax_factor, 1.0);
}

class RopeDefaultsTest : public ::testing::TestWithParam<const char*> {
 protected:
  RopeDefaultsTest() { config_["max_position_embeddings"] = 512; }

  int64_t OriginalContext() {
    const RopeConfig rope = Parse(config_)->rope;
    return rope.yarn ? rope.yarn->original_context_length : rope.llama3->original_context_length;
  }

  json config_ = Llama();
  json scaling_ = {
      {"rope_type", GetParam()}, {"factor", 4}, {"low_freq_factor", 1}, {"high_freq_factor", 4}};
};

TEST_P(RopeDefaultsTest, TakeTheModelsContextForTheOriginalOne) {
  config_["rope_scaling"] = scaling_;
  EXPECT_EQ(OriginalContext(), 512);
}

TEST_P(RopeDefaultsTest, GoByTheFieldBesideTheScalingBeforeTheOneInIt) {
  scaling_["original_max_position_embeddings"] = 64;
  config_["rope_scaling"] = scaling_;
  EXPECT_EQ(OriginalContext(), 64);
  config_["original_max_position_embeddings"] = 128;
  EXPECT_EQ(OriginalContext(), 128);
}

TEST_P(RopeDefaultsTest, RefuseANull) {
  scaling_["original_max_position_embeddings"] = nullptr;
  config_["rope_scaling"] = scaling_;
  ExpectRefused(config_, "in rope_scaling: original_max_position_embeddings is null");
}

INSTANTIATE_TEST_SUITE_P(RopeConfigTest, RopeDefaultsTest, ::testing::Values("yarn", "llama3"));

TEST(RopeConfigTest, HeadsThatTurnInPartAreRefused) {
  json config = Llama();
  config["partial_rotary_factor"] = 1.0;
  EXPECT_EQ(*Parse(config), *Parse(Llama()));
  config["partial_rotary_factor"] = 0.5;
  ExpectRefused(config, "config.json: partial_rotary_factor is 0.5; only 1 is supported");
  config.erase("partial_rotary_factor");
  config["rope_parameters"] = {{"rope_type", "default"}, {"partial_rotary_factor", 0.25}};
  ExpectRefused(config, "in rope_parameters: partial_rotary_factor is 0.25");
}

struct Fault {
  const char* path;
  json value;
  const char* problem;
};

class FaultyRopeTest : public ::testing::TestWithParam<Fault> {};

TEST_P(FaultyRopeTest, IsRefused) {
  json config = Lite();
  config[json::json_pointer(GetParam().path)] = GetParam().value;
  ExpectRefused(config, GetParam().problem);
}

INSTANTIATE_TEST_SUITE_P(
    RopeConfigTest, FaultyRopeTest,
    ::testing::Values(
        Fault{"/rope_scaling/type", "proportional",
              "in rope_scaling: rope_type is \"proportional\""},
        Fault{"/rope_scaling/factor", 0.5, "factor is 0.5"},
        Fault{"/rope_scaling/beta_slow", 64, "beta_fast is not above beta_slow"},
        Fault{"/rope_scaling", json({{"type", "linear"}}), "in rope_scaling: factor is missing"},
        Fault{"/rope_scaling", json({{"type", "yarn"}}), "in rope_scaling: factor is missing"},
        Fault{"/rope_scaling", json({{"type", "dynamic"}}), "in rope_scaling: factor is missing"},
        Fault{"/rope_scaling", json({{"rope_type", "llama3"}, {"factor", 8}}),
              "in rope_scaling: low_freq_factor is missing"},
        Fault{"/rope_scaling",
              json({{"rope_type", "llama3"},
                    {"factor", 8},
                    {"low_freq_factor", 4},
                    {"high_freq_factor", 4},
                    {"original_max_position_embeddings", 64}}),
              "high_freq_factor is not above low_freq_factor"}));

TEST(RopeConfigTest, AFactorThatIsNullIsHowMuchLongerTheContextHasBecome) {
  json config = Lite();
  config["rope_scaling"]["factor"] = nullptr;
  EXPECT_EQ(*Parse(config), *Parse(Lite()));
  config["max_position_embeddings"] = 2048;
  ExpectRefused(config, "factor is null, and original_max_position_embeddings is above");
}

TEST(RopeConfigTest, KnowsWhetherTheEndsOfTheStretchedPairsAreWholeNumbers) {
  json config = Lite();
  EXPECT_TRUE(Parse(config)->rope.yarn->truncate);
  config["rope_scaling"]["truncate"] = false;
  EXPECT_FALSE(Parse(config)->rope.yarn->truncate);
}

TEST(RopeConfigTest, EveryScalingOfLatentAttentionChangesTheSoftmax) {
  json config = Lite();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 40}, {"mscale_all_dim", 0.707}};
  EXPECT_NEAR(Parse(config)->rope.softmax_factor, 1.58962617, 1e-8);
}

TEST(RopeConfigTest, DynamicScalingIsNoneWithinTheContext) {
  json config = Llama();
  config["max_position_embeddings"] = 512;
  config["rope_scaling"] = {{"type", "dynamic"}, {"factor", 4}};
  const auto dynamic = Parse(config);
  ASSERT_THAT(dynamic, IsOk());
  config.erase("rope_scaling");
  EXPECT_EQ(*dynamic, *Parse(config));
}

class LongRopeConfigTest : public ::testing::Test {
 protected:
  LongRopeConfigTest() {
    config_["max_position_embeddings"] = 4096;
    config_["rope_scaling"] = {{"rope_type", "longrope"},
                               {"short_factor", {1, 1, 1.5, 2, 2, 3, 3, 4}},
                               {"long_factor", {1, 2, 3, 4, 5, 6, 7, 8}},
                               {"original_max_position_embeddings", 64}};
  }

  json config_ = Llama();
};

TEST_F(LongRopeConfigTest, IsComputedInTheOriginalContext) {
  const auto config = Parse(config_);
  ASSERT_THAT(config, IsOk());
  EXPECT_EQ(config->context_length, 64);
  EXPECT_EQ(config->rope.longrope->short_factors, (std::vector<double>{1, 1, 1.5, 2, 2, 3, 3, 4}));
}

TEST_F(LongRopeConfigTest, TurnsAreLongerByTheContextsLogarithmUnlessItIsSaid) {
  EXPECT_NEAR(Parse(config_)->rope.Magnitude(), std::sqrt(2), 1e-12);
  config_["rope_scaling"]["factor"] = 8;
  EXPECT_NEAR(Parse(config_)->rope.Magnitude(), std::sqrt(1.5), 1e-12);
  config_["rope_scaling"]["attention_factor"] = 1.25;
  EXPECT_EQ(Parse(config_)->rope.Magnitude(), 1.25);
}

TEST_F(LongRopeConfigTest, NeedsAFactorForEachPair) {
  config_["rope_scaling"]["short_factor"].push_back(1);
  ExpectRefused(config_, "in rope_scaling: short_factor is not a list of 8 numbers");
  config_["rope_scaling"]["short_factor"] = {1, 1, 1, 1, 1, 1, 1, 0};
  ExpectRefused(config_, "in rope_scaling: short_factor is not a list of 8 numbers");
}

TEST_F(LongRopeConfigTest, NeedsALongFactorAsTransformersDoes) {
  config_["rope_scaling"].erase("long_factor");
  ExpectRefused(config_, "in rope_scaling: long_factor is not a list of 8 numbers");
}

TEST_F(LongRopeConfigTest, NeedsAnOriginalContextThatHasALogarithm) {
  config_["rope_scaling"]["original_max_position_embeddings"] = 1;
  ExpectRefused(config_, "in rope_scaling: original_max_position_embeddings is below 2");
}

}  // namespace
}  // namespace fedtune
