// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/target_modules.h"

#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using nlohmann::json;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr char kQuery[] = "model.layers.0.self_attn.q_proj";
constexpr char kOutput[] = "model.layers.12.self_attn.o_proj";

// The key by which peft leaves a module out; empty where it adapts it.
std::string LeftOutBy(const json& config, std::string_view module) {
  ConfigReader reader(config, "adapter_config.json");
  const TargetModules targets(reader);
  EXPECT_THAT(reader.Finish(), IsOk()) << config;
  return std::string(targets.LeftOutBy(module).value_or(""));
}

TEST(TargetModulesTest, NamesEveryModuleWhereNothingIsSaid) {
  for (const json& config : {json::object(), json{{"target_modules", nullptr}},
                             json{{"target_modules", "All-Linear"}}}) {
    EXPECT_EQ(LeftOutBy(config, kQuery), "");
    EXPECT_EQ(LeftOutBy(config, kOutput), "");
  }
  EXPECT_EQ(LeftOutBy(json::object(), "lm_head"), "");
}

TEST(TargetModulesTest, AllOfThemAreWithoutTheHead) {
  EXPECT_EQ(LeftOutBy({{"target_modules", "all-linear"}}, "lm_head"), "target_modules");
}

TEST(TargetModulesTest, NamesModulesByTheEndsOfTheirNames) {
  const json config = {{"target_modules", {"q_proj", "layers.12.self_attn.o_proj"}}};
  EXPECT_EQ(LeftOutBy(config, kQuery), "");
  EXPECT_EQ(LeftOutBy(config, kOutput), "");
  EXPECT_EQ(LeftOutBy(config, "model.layers.0.self_attn.o_proj"), "target_modules");
  EXPECT_EQ(LeftOutBy(config, "model.layers.0.self_attn.my_q_proj"), "target_modules");
}

TEST(TargetModulesTest, MatchesAnExpressionWithTheWholeName) {
  EXPECT_EQ(LeftOutBy({{"target_modules", R"(.*\.(q|v)_proj)"}}, kQuery), "");
  EXPECT_EQ(LeftOutBy({{"target_modules", R"(.*\.(q|v)_proj)"}}, kOutput), "target_modules");
  EXPECT_EQ(LeftOutBy({{"target_modules", "q_proj"}}, kQuery), "target_modules");
  EXPECT_EQ(LeftOutBy({{"target_modules", "lm_head|x"}}, "lm_head"), "");
}

TEST(TargetModulesTest, TakesAnExpressionThatLooksAheadToMatch) {
  EXPECT_EQ(LeftOutBy({{"target_modules", "(?!.*k_proj).*"}}, kQuery), "");
  EXPECT_EQ(LeftOutBy({{"exclude_modules", "(?!.*k_proj).*"}}, kQuery), "");
}

TEST(TargetModulesTest, AreUnknownWhereAnExpressionThatLooksAheadCouldLeaveModulesOut) {
  const auto are_unknown = [](const json& config) {
    ConfigReader reader(config, "adapter_config.json");
    return TargetModules(reader).AreUnknown();
  };
  EXPECT_FALSE(are_unknown(json::object()));
  EXPECT_FALSE(are_unknown({{"target_modules", ".*"}, {"exclude_modules", {"q_proj"}}}));
  EXPECT_TRUE(are_unknown({{"target_modules", "(?!.*k_proj).*"}}));
  EXPECT_TRUE(are_unknown({{"exclude_modules", "(?!.*k_proj).*"}}));
}

TEST(TargetModulesTest, LeavesOutWhatIsExcludedFirst) {
  EXPECT_EQ(LeftOutBy({{"target_modules", {kQuery}}, {"exclude_modules", {"q_proj"}}}, kQuery),
            "exclude_modules");
  EXPECT_EQ(LeftOutBy({{"exclude_modules", R"(.*\.12\..*)"}}, kOutput), "exclude_modules");
  EXPECT_EQ(LeftOutBy({{"exclude_modules", R"(.*\.12\..*)"}}, kQuery), "");
  EXPECT_EQ(LeftOutBy({{"exclude_modules", json::array()}}, kQuery), "");
}

TEST(TargetModulesTest, TransformsTheLayersThatAreNumbered) {
  json config = {{"target_modules", {"q_proj", "o_proj", "lm_head"}},
                 {"layers_to_transform", {12}}};
  EXPECT_EQ(LeftOutBy(config, kOutput), "");
  EXPECT_EQ(LeftOutBy(config, kQuery), "layers_to_transform");
  EXPECT_EQ(LeftOutBy(config, "lm_head"), "") << "a whole name is taken wherever it is";
  config["layers_to_transform"] = 0;
  EXPECT_EQ(LeftOutBy(config, kQuery), "");
  EXPECT_EQ(LeftOutBy(config, kOutput), "layers_to_transform");
  config["layers_to_transform"] = json::array();
  EXPECT_EQ(LeftOutBy(config, kOutput), "");
}

TEST(TargetModulesTest, LooksForLayersWhereThePatternSays) {
  json config = {{"target_modules", {"q_proj"}}, {"layers_to_transform", {0}}};
  for (const json& pattern : {json("layers"), json({"h", "layers"}), json(""), json::array(),
                              json(nullptr), json("model.layers")}) {
    config["layers_pattern"] = pattern;
    EXPECT_EQ(LeftOutBy(config, kQuery), "") << pattern;
  }
  for (const json& pattern : {json("blocks"), json({"h", "decoder.layers"})}) {
    config["layers_pattern"] = pattern;
    EXPECT_EQ(LeftOutBy(config, kQuery), "layers_to_transform") << pattern;
  }
}

TEST(TargetModulesTest, RefusesWhatIsOfAnotherKind) {
  const std::pair<const char*, json> faults[] = {{"target_modules", 3},
                                                 {"target_modules", {"q_proj", 3}},
                                                 {"exclude_modules", {{"q_proj", 1}}},
                                                 {"layers_to_transform", "all"},
                                                 {"layers_to_transform", {0.5}},
                                                 {"layers_pattern", {1}}};
  for (const auto& [key, value] : faults) {
    const json config = {{key, value}};
    ConfigReader reader(config, "adapter_config.json");
    const TargetModules targets(reader);
    const absl::Status status = reader.Finish();
    EXPECT_THAT(status, HasCode(absl::StatusCode::kInvalidArgument)) << config;
    EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(key) + " is neither"));
  }
}

}  // namespace
}  // namespace fedtune
