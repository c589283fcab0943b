// SPDX-License-Identifier: Apache-2.0

#include "bench/train/step_products.h"

#include <numeric>

#include "gtest/gtest.h"

namespace fedtune::bench {
namespace {

// Two layers of attention's o_proj, four experts of which a token takes two.
BaseModelDescription SmallModel() {
  BaseModelDescription model;
  model.experts_per_token = 2;
  model.routed_expert_count = 4;
  for (const char* name : {"layers.0.o_proj", "layers.1.o_proj"}) {
    model.linear_layers.push_back({name, LayerKind::kAttention, 32, 48});
  }
  for (const char* name : {"experts.0", "experts.1", "experts.2", "experts.3"}) {
    model.linear_layers.push_back({name, LayerKind::kRoutedExpert, 32, 16});
  }
  return model;
}

AdapterLayout LayoutOf(std::vector<AdapterModule> modules) {
  return *AdapterLayout::Create(std::move(modules));
}

// Multiplications and additions of pairs of values.
int64_t Work(const std::vector<ProductShape>& shapes) {
  return std::accumulate(shapes.begin(), shapes.end(), int64_t{0},
                         [](int64_t sum, const ProductShape& shape) {
                           return sum + shape.count * shape.rows * shape.depth * shape.columns;
                         });
}

TEST(StepProductsTest, TokensAreSpreadOverTheRoutedExperts) {
  const std::vector<LayerShape> layers = FrozenLayersOf(SmallModel(), 100);
  ASSERT_EQ(layers.size(), 2U);
  EXPECT_EQ(layers[0].count, 2);
  EXPECT_EQ(layers[0].rows, 100);
  EXPECT_EQ(layers[0].out_features, 48);
  EXPECT_EQ(layers[1].count, 4);
  EXPECT_EQ(layers[1].rows, 50);
}

TEST(StepProductsTest, LoraHasThreeProductsWithEachFactor) {
  const AdapterLayout layout =
      LayoutOf({{"layers.0.o_proj", 32, 48, 4, 8}, {"experts.2", 32, 16, 4, 8}});
  const int64_t attention = 100 * 4 * (32 + 48), expert = 50 * 4 * (32 + 16);
  EXPECT_EQ(Work(LoraProductsOf(SmallModel(), layout, 100)), 3 * (attention + expert));
}

TEST(StepProductsTest, AttentionHasTwoProductsForwardsAndFourBack) {
  ModelConfig config;
  config.head_count = 3;
  config.layer_count = 2;
  config.attention = MlaConfig{0, 16, 8, 4, 10};
  const int64_t scores = 64 * 32 * 12, values = 64 * 32 * 10;
  EXPECT_EQ(Work(AttentionProductsOf(config, 5, 64)), 5 * 3 * 2 * 3 * (scores + values));
  config.attention = GqaConfig{1, 12};
  EXPECT_EQ(Work(AttentionProductsOf(config, 5, 64)), 5 * 3 * 2 * 6 * scores);
}

}  // namespace
}  // namespace fedtune::bench
