// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/vector_kernels.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/transformer/matrix_products.h"

namespace fedtune {
namespace {

using ::testing::ElementsAreArray;

// One, a vector of them, some that end in one, and an odd number behind whole vectors.
constexpr int64_t kSizes[] = {1, 15, 16, 30, 32, 37};

// To the nearest value, halfway to the even one.
uint16_t Rounded(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U);
}

// With a zero behind an odd number of them.
std::vector<uint16_t> Rounded(const std::vector<float>& values) {
  std::vector<uint16_t> rounded;
  for (const float value : values) rounded.push_back(Rounded(value));
  if (rounded.size() % 2 == 1) rounded.push_back(0);
  return rounded;
}

std::vector<float> Widened(const std::vector<uint16_t>& values) {
  std::vector<float> wide;
  for (const uint16_t value : values) {
    wide.push_back(std::bit_cast<float>(static_cast<uint32_t>(value) << 16U));
  }
  return wide;
}

std::vector<float> Waves(int64_t size, double seed) {
  std::vector<float> values;
  for (int64_t i = 0; i < size; ++i) {
    values.push_back(static_cast<float>(3 * std::sin(seed + 12.9898 * static_cast<double>(i))));
  }
  return values;
}

// A row of each, and what SwiGlu() and its derivative write.
struct Row {
  std::vector<float> gate, up, hidden;
};
struct Bf16Row {
  std::vector<uint16_t> gate, up, hidden;

  explicit Bf16Row(int64_t size) {
    for (std::vector<uint16_t>* values : {&gate, &up, &hidden}) {
      values->resize(static_cast<size_t>(size + size % 2), 0x7fff);
    }
  }
  Bf16SwiGlu at() { return {gate.data(), up.data(), hidden.data()}; }
};

class Bf16SwiGluTest : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    if (!HasBf16Kernels()) GTEST_SKIP() << "this CPU has no kernels for bf16";
    SwiGluInBf16(gate_.data(), up_.data(), GetParam(), rounded_.at());
    exact_ = {Widened(Rounded(gate_)), Widened(Rounded(up_)), Waves(GetParam(), 0)};
    SwiGlu(exact_.gate.data(), exact_.up.data(), GetParam(), exact_.hidden.data());
  }

  const std::vector<float> gate_ = Waves(GetParam(), 1), up_ = Waves(GetParam(), 2);
  Bf16Row rounded_{GetParam()};
  Row exact_;  // Of rounded values.
};

TEST_P(Bf16SwiGluTest, IsThatOfRoundedValues) {
  EXPECT_THAT(rounded_.gate, ElementsAreArray(Rounded(gate_)));
  EXPECT_THAT(rounded_.up, ElementsAreArray(Rounded(up_)));
  EXPECT_THAT(rounded_.hidden, ElementsAreArray(Rounded(exact_.hidden)));
}

TEST_P(Bf16SwiGluTest, HasTheDerivativeOfRoundedValues) {
  const std::vector<float> gradient = Waves(GetParam(), 3);
  const float by_weight = SwiGluBackwardInBf16(gradient.data(), 0.7F, GetParam(), rounded_.at());
  std::vector<float> hidden = Waves(GetParam(), 0);
  hidden.resize(exact_.gate.size());
  const float expected = SwiGluBackward(gradient.data(), 0.7F, GetParam(), exact_.gate.data(),
                                        exact_.up.data(), hidden.data());
  EXPECT_EQ(by_weight, expected);
  for (std::vector<float>* values : {&exact_.gate, &exact_.up, &hidden}) {
    values->resize(static_cast<size_t>(GetParam()));
  }
  EXPECT_THAT(rounded_.gate, ElementsAreArray(Rounded(exact_.gate)));
  EXPECT_THAT(rounded_.up, ElementsAreArray(Rounded(exact_.up)));
  EXPECT_THAT(rounded_.hidden, ElementsAreArray(Rounded(hidden)));
}

// From where a gate is as good as shut to where it is as good as open, and beyond.
TEST(SwiGluTest, IsExactToSomeUnitsInTheLastPlace) {
  if (!HasMatrixKernels()) GTEST_SKIP() << "this CPU has no kernels";
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> gate = {kInfinity, 1e30F, 104, 88, 0, -0.0F};
  for (float value = -85; value < 85; value += 0.037F) gate.push_back(value);
  const std::vector<float> up(gate.size(), 1);
  std::vector<float> hidden(gate.size());
  SwiGlu(gate.data(), up.data(), static_cast<int64_t>(gate.size()), hidden.data());
  for (size_t i = 0; i < gate.size(); ++i) {
    const auto wide = static_cast<double>(gate[i]);
    const auto exact = static_cast<float>(wide / (1 + std::exp(-wide)));
    const float unit = std::abs(std::nextafter(exact, kInfinity) - exact);
    if (exact == hidden[i]) continue;
    EXPECT_NEAR(hidden[i], exact, 4 * unit) << "of " << gate[i];
  }
  const std::vector<float> shut(1, -1e30F);
  SwiGlu(shut.data(), up.data(), 1, hidden.data());
  EXPECT_LT(std::abs(hidden[0]), 1e-6F);
}

// Where values have overflowed nothing comes of them that looks as if they had not.
class OverflowTest : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    if (!HasMatrixKernels()) GTEST_SKIP() << "this CPU has no kernels";
  }

  static constexpr float kInfinity = std::numeric_limits<float>::infinity();
  static constexpr float kNoNumber = std::numeric_limits<float>::quiet_NaN();
};

TEST_P(OverflowTest, NoShareOfScoresThatOverflowedIsANumber) {
  for (const float overflowed : {kInfinity, kNoNumber}) {
    for (size_t at = 0; at < static_cast<size_t>(GetParam()); ++at) {
      std::vector<float> scores = Waves(GetParam(), 1);
      scores[at] = overflowed;
      SoftmaxRow(scores.data(), GetParam(), GetParam(), 0.5F);
      EXPECT_THAT(scores, ::testing::Each(::testing::IsNan())) << overflowed << " at " << at;
    }
  }
}

TEST_P(OverflowTest, TheLossOfLogitsThatOverflowedIsNoNumber) {
  for (const float overflowed : {kInfinity, kNoNumber}) {
    for (size_t at = 0; at < static_cast<size_t>(GetParam()); ++at) {
      std::vector<float> logits = Waves(GetParam(), 1);
      logits[at] = overflowed;
      EXPECT_TRUE(std::isnan(LossRow(logits.data(), GetParam(), 0))) << overflowed << " at " << at;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, OverflowTest, ::testing::ValuesIn(kSizes));

INSTANTIATE_TEST_SUITE_P(Sizes, Bf16SwiGluTest, ::testing::ValuesIn(kSizes));

}  // namespace
}  // namespace fedtune
