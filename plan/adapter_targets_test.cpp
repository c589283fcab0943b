// SPDX-License-Identifier: Apache-2.0

#include "plan/adapter_targets.h"

#include "base/status.h"
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

TEST(ResolveTargetsTest, RefusesToTrainTheRouter) {
  EXPECT_EQ(Refusal({.targets = {"router"}}),
            "target \"router\": routers are never trained, because institutions would pull the "
            "experts apart; remove it from targets");
  EXPECT_THAT(Refusal({.targets = {"gate"}}), ::testing::HasSubstr("matches no layer"));
}

TEST(ResolveTargetsTest, RefusesRankZero) {
  EXPECT_EQ(Refusal({.rank = 0, .targets = {"attention"}}), "rank must be at least 1");
}

TEST(ResolveTargetsTest, RefusesARankAboveTheLayer) {
  EXPECT_THAT(Refusal({.rank = 65, .targets = {"q_proj"}}),
              ::testing::HasSubstr("lora_rank 65 is above both sizes of the layer (64 and 48)"));
}

TEST(ResolveTargetsTest, RefusesNoTargetAtAll) {
  EXPECT_EQ(Refusal({.targets = {}}), "targets names no layer");
}

}  // namespace
}  // namespace fedtune
