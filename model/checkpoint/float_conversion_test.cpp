// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/float_conversion.h"

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"

namespace fedtune {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(HalfTest, SurvivesEveryTripThroughFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = FloatFromHalf(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(FloatFromHalf(HalfFromFloat(value))));
    } else {
      ASSERT_EQ(HalfFromFloat(value), half) << bits;
    }
  }
}

TEST(HalfTest, HasTheKnownValues) {
  EXPECT_EQ(FloatFromHalf(0x3c00), 1.0F);
  EXPECT_EQ(FloatFromHalf(0xc000), -2.0F);
  EXPECT_EQ(FloatFromHalf(0x7bff), 65504.0F);
  EXPECT_EQ(FloatFromHalf(0x0001), 0x1p-24F);
  EXPECT_EQ(FloatFromHalf(0xfc00), -kInfinity);
}

TEST(HalfTest, RoundsEveryMidpointToEven) {
  for (uint32_t half = 0; half < 0x7bff; ++half) {
    const float low = FloatFromHalf(static_cast<uint16_t>(half));
    const float high = FloatFromHalf(static_cast<uint16_t>(half + 1));
    const float middle = (low + high) / 2;
    ASSERT_EQ(HalfFromFloat(middle), half + half % 2) << half;
    ASSERT_EQ(HalfFromFloat(std::nextafter(middle, 0.0F)), half);
    ASSERT_EQ(HalfFromFloat(std::nextafter(middle, kInfinity)), half + 1);
  }
}

TEST(HalfTest, OverflowsToInfinityFromHalfway) {
  EXPECT_EQ(HalfFromFloat(65519.99F), 0x7bff);
  EXPECT_EQ(HalfFromFloat(65520.0F), 0x7c00);
  EXPECT_EQ(HalfFromFloat(-1e30F), 0xfc00);
}

TEST(Bfloat16Test, SurvivesEveryTripThroughFloat) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = FloatFromBfloat16(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(FloatFromBfloat16(Bfloat16FromFloat(value))));
    } else {
      ASSERT_EQ(Bfloat16FromFloat(value), bits);
    }
  }
}

TEST(Bfloat16Test, RoundsEveryMidpointToEven) {
  for (uint32_t bits = 0; bits < 0x7f7f; ++bits) {
    const float low = FloatFromBfloat16(static_cast<uint16_t>(bits));
    const float high = FloatFromBfloat16(static_cast<uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;
    ASSERT_EQ(Bfloat16FromFloat(middle), bits + bits % 2) << bits;
  }
}

TEST(DecodeFloatsTest, UndoesEncodeFloats) {
  const std::array<float, 4> values = {1, -0.5, 0, 1024};
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
    std::vector<std::byte> bytes(static_cast<size_t>(4 * BytesPerValue(type)));
    EncodeFloats(type, values, bytes);
    std::array<float, 4> decoded = {};
    DecodeFloats(type, bytes, decoded);
    EXPECT_EQ(decoded, values);
  }
}

}  // namespace
}  // namespace fedtune
