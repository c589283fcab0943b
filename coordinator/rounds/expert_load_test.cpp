// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/expert_load.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(ExpertLoadTest, AnEvenLoadDoesNotVary) {
  const std::vector<LayerLoad> loads = LayerLoadsOf({.experts = 4, .counts = {5, 5, 5, 5}});
  ASSERT_EQ(loads.size(), 1U);
  EXPECT_EQ(loads[0].routed_tokens, 20);
  EXPECT_EQ(loads[0].variation, 0);
  EXPECT_EQ(loads[0].idle_share, 0);
}

TEST(ExpertLoadTest, EachLayerHasItsOwn) {
  const std::vector<LayerLoad> loads =
      LayerLoadsOf({.experts = 4, .counts = {2, 6, 2, 6, 8, 0, 0, 0}});
  ASSERT_EQ(loads.size(), 2U);
  EXPECT_DOUBLE_EQ(loads[0].variation, 0.5);
  EXPECT_EQ(loads[0].idle_share, 0);
  EXPECT_DOUBLE_EQ(loads[1].variation, std::sqrt(3.0));  // All to one of four.
  EXPECT_DOUBLE_EQ(loads[1].idle_share, 0.75);
}

TEST(ExpertLoadTest, ALayerWithoutTokensIsIdle) {
  const std::vector<LayerLoad> loads = LayerLoadsOf({.experts = 2, .counts = {0, 0}});
  ASSERT_EQ(loads.size(), 1U);
  EXPECT_EQ(loads[0].variation, 0);
  EXPECT_EQ(loads[0].idle_share, 1);
}

TEST(ExpertLoadTest, NothingCountedIsNoLayer) { EXPECT_TRUE(LayerLoadsOf({}).empty()); }

}  // namespace
}  // namespace fedtune
