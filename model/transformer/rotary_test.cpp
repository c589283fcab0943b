// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/rotary.h"

#include <cmath>
#include <numbers>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::Each;

constexpr int64_t kDimension = 128;

std::vector<float> Ratios(const RopeConfig& rope) {
  RopeConfig plain;
  plain.theta = rope.theta;
  const std::vector<float> stretched = RotaryFrequencies(rope, kDimension);
  std::vector<float> ratios = RotaryFrequencies(plain, kDimension);
  for (size_t i = 0; i < ratios.size(); ++i) ratios[i] /= stretched[i];
  return ratios;
}

TEST(RotaryTest, LinearScalingSlowsEveryPair) {
  RopeConfig rope;
  rope.linear_factor = 4;
  EXPECT_THAT(Ratios(rope), Each(4));
}

// Llama 3.1's published values.
TEST(RotaryTest, Llama3SlowsOnlyPairsThatTurnSeldom) {
  RopeConfig rope;
  rope.theta = 500'000;
  rope.llama3 = Llama3Scaling{8, 8192, 1, 4};
  const std::vector<float> ratios = Ratios(rope);
  for (size_t pair = 0; pair < ratios.size(); ++pair) {
    const double frequency = std::pow(rope.theta, -2.0 * static_cast<double>(pair) / kDimension);
    const double turns = 8192 * frequency / (2 * std::numbers::pi);
    if (turns > 4) {
      EXPECT_EQ(ratios[pair], 1) << pair;
    } else if (turns < 1) {
      EXPECT_FLOAT_EQ(ratios[pair], 8) << pair;
    } else {
      EXPECT_GT(ratios[pair], ratios[pair - 1]) << pair;
    }
  }
}

}  // namespace
}  // namespace fedtune
