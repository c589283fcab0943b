// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/rotary.h"

#include <cmath>
#include <complex>
#include <numbers>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::Each;
using ::testing::FloatNear;
using ::testing::Pointwise;

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

// The values of a head whose rows have something behind them, which stays as it is.
TEST(RotaryTest, EveryPairIsTurnedByItsRowsRotation) {
  constexpr int64_t kRows = 3;
  for (const int64_t half : {1, 7, 8, 16, 19}) {
    const int64_t stride = 2 * half + 5;
    std::vector<float> before;
    for (int64_t i = 0; i < kRows * stride; ++i) before.push_back(static_cast<float>(i) - 40);
    std::vector<c10::complex<float>> turns;
    for (int64_t i = 0; i < kRows * half; ++i) {
      turns.emplace_back(std::cos(static_cast<float>(i)), std::sin(static_cast<float>(i)));
    }
    for (const RotaryPairs pairs : {RotaryPairs::kNeighbours, RotaryPairs::kHalves}) {
      std::vector<float> values = before, expected = before;
      RotateHead({values.data(), stride, kRows}, turns.data(), half, pairs);
      for (int64_t i = 0; i < kRows * half; ++i) {
        const int64_t row = i / half * stride, pair = i % half;
        const bool halves = pairs == RotaryPairs::kHalves;
        float& real = expected[static_cast<size_t>(row + (halves ? pair : 2 * pair))];
        float& imaginary =
            expected[static_cast<size_t>(row + (halves ? pair + half : 2 * pair + 1))];
        const c10::complex<float> turn = turns[static_cast<size_t>(i)];
        const std::complex<double> turned =
            std::complex<double>(real, imaginary) * std::complex<double>(turn.real(), turn.imag());
        real = static_cast<float>(turned.real());
        imaginary = static_cast<float>(turned.imag());
      }
      EXPECT_THAT(values, Pointwise(FloatNear(1e-4F), expected)) << half;
    }
  }
}

}  // namespace
}  // namespace fedtune
