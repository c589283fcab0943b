// SPDX-License-Identifier: Apache-2.0

#include "plan/adapter_targets.h"

#include <ctime>
#include <string>
#include <vector>

#include "base/status.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using fedtune::testing::HasCode;
using fedtune::testing::IsOk;
using ::testing::ElementsAre;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

// One dense layer and one of experts, as DeepSeek models have them.
BaseModelDescription TinyMoe() {
  using enum LayerKind;
  BaseModelDescription model;
  model.name = "tiny-moe";
  model.experts_per_token = 2;
  model.routed_expert_count = 1;
  model.linear_layers = {{"model.layers.0.self_attn.q_proj", kAttention, 64, 48},
                         {"model.layers.0.self_attn.o_proj", kAttention, 48, 64},
                         {"model.layers.0.mlp.gate_proj", kDenseMlp, 64, 128},
                         {"model.layers.1.self_attn.q_proj", kAttention, 64, 48},
                         {"model.layers.1.mlp.gate", kRouter, 64, 4},
                         {"model.layers.1.mlp.experts.0.gate_proj", kRoutedExpert, 64, 32},
                         {"model.layers.1.mlp.shared_experts.gate_proj", kSharedExpert, 64, 32},
                         {"lm_head", kHead, 64, 1000}};
  return model;
}

std::vector<std::string> Resolve(std::vector<std::string> targets) {
  const auto layout = ResolveTargets(TinyMoe(), {.targets = std::move(targets)});
  EXPECT_THAT(layout, IsOk()) << layout.status();
  std::vector<std::string> names;
  if (!layout.ok()) return names;
  for (const AdapterModule& module : layout->modules()) names.push_back(module.name);
  return names;
}

std::string Refusal(const AdapterPlan& adapter) {
  const auto layout = ResolveTargets(TinyMoe(), adapter);
  EXPECT_THAT(layout, HasCode(kInvalid));
  return std::string(Message(layout.status()));
}

TEST(ResolveTargetsTest, TakesLayersInTheModelsOrder) {
  EXPECT_THAT(Resolve({"dense_mlp", "attention"}),
              ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.o_proj",
                          "model.layers.0.mlp.gate_proj", "model.layers.1.self_attn.q_proj"));
}

TEST(ResolveTargetsTest, TakesALayerOnceHoweverOftenItIsNamed) {
  EXPECT_THAT(Resolve({"o_proj", "attention", "all-linear"}).size(), 6u);
}

TEST(ResolveTargetsTest, TakesLeafNamesInEveryLayer) {
  EXPECT_THAT(Resolve({"q_proj"}),
              ElementsAre("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"));
  EXPECT_THAT(Resolve({"gate_proj"}).size(), 3u);
}

TEST(ResolveTargetsTest, TakesEndsOfNames) {
  EXPECT_THAT(Resolve({"shared_experts.gate_proj", "layers.1.self_attn.q_proj"}),
              ElementsAre("model.layers.1.self_attn.q_proj",
                          "model.layers.1.mlp.shared_experts.gate_proj"));
  EXPECT_THAT(Refusal({.targets = {"experts.gate_proj"}}), ::testing::HasSubstr("no layer"));
}

// The modules of "attention" and "routed_experts", with rank 16 and alpha 32 else.
std::vector<AdapterModule> ModulesOf(AdapterPlan adapter) {
  adapter.targets = {"attention", "routed_experts"};
  const auto layout = ResolveTargets(TinyMoe(), adapter);
  EXPECT_THAT(layout, IsOk()) << layout.status();
  return layout.ok() ? layout->modules() : std::vector<AdapterModule>(4);
}

TEST(ResolveTargetsTest, PatternsHaveTheScaleThatRankAndAlphaMake) {
  const auto modules = ModulesOf({.rank_pattern = {{"layers.0.self_attn.q_proj", 4}, {"q_proj", 2}},
                                  .alpha_pattern = {{".*o_proj", 8}}});
  EXPECT_EQ(modules[0].lora_rank, 4);
  EXPECT_EQ(modules[0].scale(), 8);
  EXPECT_EQ(modules[1].lora_rank, 16);
  EXPECT_EQ(modules[1].scale(), 0.5);
  EXPECT_EQ(modules[2].lora_rank, 2);
  EXPECT_EQ(modules[2].scale(), 16);
  EXPECT_EQ(modules[3].lora_rank, 8);
  EXPECT_EQ(modules[3].scale(), 2);
}

TEST(ResolveTargetsTest, RsLoraDividesByTheRootOfTheRank) {
  const auto modules = ModulesOf({.rank_pattern = {{"o_proj", 4}}, .rslora = true});
  EXPECT_EQ(modules[0].scale(), 8);  // 32 / sqrt(16)
  EXPECT_EQ(modules[1].scale(), 16);
  EXPECT_EQ(modules[3].lora_rank, 8);  // A routed expert.
  EXPECT_EQ(modules[3].scale(), 8);
}

TEST(ResolveTargetsTest, RefusesAPatternThatMatchesNothingThatIsTrained) {
  EXPECT_EQ(Refusal({.targets = {"attention"}, .rank_pattern = {{"gate_proj", 2}}}),
            "rank_pattern: \"gate_proj\" matches none of the 3 layers that are trained, such as "
            "model.layers.0.self_attn.q_proj");
  EXPECT_THAT(Refusal({.targets = {"attention"}, .alpha_pattern = {{"v_proj", 2}}}),
              ::testing::HasSubstr("alpha_pattern: \"v_proj\""));
}

// The routed experts of a model as large as there are.
BaseModelDescription LargeMoe() {
  BaseModelDescription model;
  model.name = "large-moe";
  model.experts_per_token = 8;
  model.routed_expert_count = 256;
  for (int layer = 3; layer < 61; ++layer) {
    for (int expert = 0; expert < 256; ++expert) {
      for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
        model.linear_layers.push_back(
            {fmt::format("model.layers.{}.mlp.experts.{}.{}", layer, expert, name),
             LayerKind::kRoutedExpert, 8, 8});
      }
    }
  }
  return model;
}

TEST(ResolveTargetsTest, RefusesExpressionsThatAreMadeToTakeHours) {
  AdapterPlan adapter = {.targets = {"routed_experts"}};
  for (int i = 0; i < 200; ++i) {
    adapter.rank_pattern.emplace_back(fmt::format("(.?){{{}}}", 200 - i % 7), 4);
  }
  const auto begin = std::clock();
  const auto layout = ResolveTargets(LargeMoe(), adapter, {.most = absl::Milliseconds(300)});
  EXPECT_THAT(layout, HasCode(kInvalid));
  EXPECT_THAT(std::string(Message(layout.status())),
              ::testing::StartsWith("rank_pattern: matching its 200 patterns to the 44544 layers "
                                    "that are trained takes more than 300ms of processor time"));
  EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC);
}

TEST(ResolveTargetsTest, NamesOfAllLayersAsTargetsAndPatternsTakeNoTimeToSpeakOf) {
  const BaseModelDescription model = LargeMoe();
  AdapterPlan adapter = {.targets = {}};
  for (const LinearLayer& layer : model.linear_layers) {
    adapter.targets.push_back(layer.name);
    if (adapter.rank_pattern.size() < 1'000) adapter.rank_pattern.emplace_back(layer.name, 4);
  }
  const auto begin = std::clock();
  const auto layout = ResolveTargets(model, adapter);
  ASSERT_THAT(layout, IsOk());
  EXPECT_EQ(layout->modules().size(), 44'544U);
  EXPECT_LT(std::clock() - begin, 20 * CLOCKS_PER_SEC);
}

// Two layers of two experts.
BaseModelDescription TwoByTwo() {
  BaseModelDescription model;
  model.name = "two-by-two";
  model.experts_per_token = 1;
  model.routed_expert_count = 2;
  for (const char* name :
       {"model.layers.1.mlp.experts.0.up_proj", "model.layers.1.mlp.experts.1.up_proj",
        "model.layers.2.mlp.experts.0.up_proj", "model.layers.2.mlp.experts.1.up_proj"}) {
    model.linear_layers.push_back({name, LayerKind::kRoutedExpert, 8, 8});
  }
  model.linear_layers.push_back({"model.layers.2.self_attn.q_proj", LayerKind::kAttention, 8, 8});
  return model;
}

TEST(ResolveTargetsTest, TakesASubsetOfTheRoutedExperts) {
  const auto names = [](AdapterPlan adapter) {
    adapter.rank = 2;
    const auto layout = ResolveTargets(TwoByTwo(), adapter);
    EXPECT_THAT(layout, IsOk()) << layout.status();
    std::vector<std::string> found;
    for (const AdapterModule& module : layout->modules()) found.push_back(module.name);
    return found;
  };
  EXPECT_THAT(
      names({.targets = {"all-linear"}, .routed_experts = {1}}),
      ElementsAre("model.layers.1.mlp.experts.1.up_proj", "model.layers.2.mlp.experts.1.up_proj",
                  "model.layers.2.self_attn.q_proj"));
  EXPECT_THAT(names({.targets = {"up_proj"}, .routed_experts = {0}, .routed_layers = {2}}),
              ElementsAre("model.layers.2.mlp.experts.0.up_proj"));
}

TEST(ResolveTargetsTest, RefusesASubsetThatIsNotThere) {
  const auto refusal = [](const AdapterPlan& adapter) {
    const auto layout = ResolveTargets(TwoByTwo(), adapter);
    EXPECT_THAT(layout, HasCode(kInvalid));
    return std::string(Message(layout.status()));
  };
  EXPECT_EQ(refusal({.rank = 2, .targets = {"up_proj"}, .routed_experts = {0, 2}}),
            "routed_experts has 2, but the routed experts of two-by-two are 0 to 1");
  EXPECT_EQ(refusal({.rank = 2, .targets = {"up_proj"}, .routed_layers = {0}}),
            "routed_layers has 0, but the routed experts' layers of two-by-two are 1 to 2");
  EXPECT_EQ(refusal({.rank = 2, .targets = {"attention"}, .routed_layers = {1}}),
            "routed_layers is set, but targets name no routed expert of two-by-two");
}

TEST(ResolveTargetsTest, MlpIsEverythingOutsideAttention) {
  EXPECT_THAT(Resolve({"mlp"}),
              ElementsAre("model.layers.0.mlp.gate_proj", "model.layers.1.mlp.experts.0.gate_proj",
                          "model.layers.1.mlp.shared_experts.gate_proj"));
}

TEST(ResolveTargetsTest, AllLinearLeavesRouterAndHeadAlone) {
  EXPECT_THAT(Resolve({"all-linear"}).size(), 6u);
}

TEST(ResolveTargetsTest, TakesTheHeadOnlyByName) {
  EXPECT_THAT(Resolve({"lm_head"}), ElementsAre("lm_head"));
}

TEST(ResolveTargetsTest, RefusesATiedHead) {
  BaseModelDescription model = TinyMoe();
  model.linear_layers.pop_back();
  const auto layout = ResolveTargets(model, {.targets = {"attention", "lm_head"}});
  ASSERT_THAT(layout, HasCode(kInvalid));
  EXPECT_THAT(
      std::string(Message(layout.status())),
      ::testing::HasSubstr("target \"lm_head\": that of tiny-moe is tied to the embedding"));
}

TEST(ResolveTargetsTest, GivesRoutedExpertsASmallerRankAndTheSameScale) {
  const auto layout =
      ResolveTargets(TinyMoe(), {.rank = 16, .alpha = 32, .targets = {"gate_proj"}});
  ASSERT_THAT(layout, IsOk());
  EXPECT_EQ(layout->modules()[0].lora_rank, 16);
  EXPECT_EQ(layout->modules()[1].lora_rank, 8);
  EXPECT_EQ(layout->modules()[1].alpha, 16);
  EXPECT_EQ(layout->modules()[1].scale(), layout->modules()[0].scale());
}

TEST(ResolveTargetsTest, TakesTheRankForRoutedExpertsFromThePlan) {
  const auto layout = ResolveTargets(TinyMoe(), {.targets = {"routed_experts"}, .routed_rank = 3});
  ASSERT_THAT(layout, IsOk());
  EXPECT_EQ(layout->modules()[0].lora_rank, 3);
}

TEST(ResolveTargetsTest, NeverGivesRoutedExpertsRankZero) {
  const auto layout = ResolveTargets(TinyMoe(), {.rank = 1, .targets = {"routed_experts"}});
  ASSERT_THAT(layout, IsOk());
  EXPECT_EQ(layout->modules()[0].lora_rank, 1);
}

TEST(ResolveTargetsTest, SaysWhatTheModelHasWhenATargetMatchesNothing) {
  EXPECT_EQ(Refusal({.targets = {"attention", "v_proj"}}),
            "target \"v_proj\" matches no layer of tiny-moe (attention has q_proj, o_proj; "
            "dense_mlp has gate_proj; shared_experts has gate_proj; routed_experts has "
            "gate_proj)");
}

TEST(ResolveTargetsTest, SaysThatADenseModelHasNoExperts) {
  BaseModelDescription dense = TinyMoe();
  dense.linear_layers.resize(1);
  const auto layout = ResolveTargets(dense, {.targets = {"routed_experts"}});
  EXPECT_EQ(Message(layout.status()),
            "target \"routed_experts\": tiny-moe has no such layers (attention has q_proj)");
}

TEST(ResolveTargetsTest, TakesOfTheUsualTargetsThoseThatTheModelHas) {
  BaseModelDescription dense = TinyMoe();
  dense.linear_layers.resize(3);
  const auto layout = ResolveTargets(dense, AdapterPlan());
  ASSERT_THAT(layout, IsOk()) << layout.status();
  EXPECT_EQ(layout->modules().size(), 3u);
  BaseModelDescription all_experts = TinyMoe();
  all_experts.linear_layers.erase(all_experts.linear_layers.begin() + 2);
  EXPECT_THAT(ResolveTargets(all_experts, AdapterPlan()), IsOk());
}

TEST(ResolveTargetsTest, RefusesToTrainTheRouter) {
  EXPECT_EQ(Refusal({.targets = {"router"}}),
            "target \"router\": routers are never trained, because institutions would pull the "
            "experts apart; remove it from targets");
  EXPECT_THAT(Refusal({.targets = {"gate"}}), ::testing::HasSubstr("matches no layer"));
}

TEST(ResolveTargetsTest, RefusesRankZero) {
  EXPECT_EQ(Refusal({.rank = 0, .targets = {"attention"}}), "rank must be at least 1");
}

TEST(ResolveTargetsTest, RefusesARankBeyondAllSense) {
  EXPECT_THAT(Refusal({.rank = 4097, .targets = {"q_proj"}}),
              ::testing::HasSubstr("lora_rank 4097 is above 4096"));
}

TEST(ResolveTargetsTest, RefusesNoTargetAtAll) {
  EXPECT_EQ(Refusal({.targets = {}}), "targets names no layer");
}

}  // namespace
}  // namespace fedtune
