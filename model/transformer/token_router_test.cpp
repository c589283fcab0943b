// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/token_router.h"

#include <cstdint>
#include <string>
#include <vector>

#include "ATen/ops/eye.h"
#include "ATen/ops/randn.h"
#include "gtest/gtest.h"
#include "model/transformer/router.h"

namespace fedtune {
namespace {

constexpr int64_t kExperts = 16;

struct Case {
  std::string name;
  MoeConfig moe;
  bool has_bias = false;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

MoeConfig Config(RouterScores scores, ExpertChoice choice, bool normalize, WeightScaling scaling) {
  MoeConfig moe;
  moe.routed_expert_count = kExperts;
  moe.experts_per_token = 4;
  moe.scores = scores;
  moe.choice = choice;
  moe.group_count = choice == ExpertChoice::kGreedy ? 1 : 4;
  moe.groups_per_token = choice == ExpertChoice::kGreedy ? 1 : 2;
  moe.normalize_weights = normalize;
  moe.weight_scaling = scaling;
  moe.routed_scaling_factor = 2.5;
  return moe;
}

class TokenRouterTest : public ::testing::TestWithParam<Case> {};

TEST_P(TokenRouterTest, ATokenGoesWhereItGoesInABatch) {
  const MoeConfig& moe = GetParam().moe;
  // A router that changes nothing.
  const Linear gate = {at::eye(kExperts), 0};
  const at::Tensor products = at::randn({200, kExperts});
  const at::Tensor bias = GetParam().has_bias ? at::randn({kExperts}).mul_(0.2) : at::Tensor();
  const Routing expected = Route(products, gate, {}, bias, moe);
  TokenRouter router(moe);
  std::vector<float> biases;
  if (bias.defined()) {
    biases.assign(bias.const_data_ptr<float>(), bias.const_data_ptr<float>() + kExperts);
  }
  for (int64_t row = 0; row < products.size(0); ++row) {
    const float* values = products.const_data_ptr<float>() + row * kExperts;
    const auto choices = router.Choose({values, kExperts}, biases);
    ASSERT_EQ(std::ssize(choices), moe.experts_per_token);
    for (size_t i = 0; i < choices.size(); ++i) {
      const auto column = static_cast<int64_t>(i);
      ASSERT_EQ(choices[i].expert, expected.experts[row][column].item<int64_t>()) << row;
      ASSERT_NEAR(choices[i].weight, expected.weights[row][column].item<float>(), 1e-5) << row;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ways, TokenRouterTest,
    ::testing::Values(
        Case{"softmax", Config(RouterScores::kSoftmax, ExpertChoice::kGreedy, false,
                               WeightScaling::kNormalizeOrScale)},
        Case{"softmax_normalized", Config(RouterScores::kSoftmax, ExpertChoice::kGreedy, true,
                                          WeightScaling::kNormalizeOrScale)},
        Case{"limited_groups", Config(RouterScores::kSoftmax, ExpertChoice::kGroupLimitedGreedy,
                                      false, WeightScaling::kNormalizeOrScale)},
        Case{"biased_groups",
             Config(RouterScores::kSigmoid, ExpertChoice::kBiasedGroups, true,
                    WeightScaling::kNormalizeAndScale),
             true}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace fedtune
