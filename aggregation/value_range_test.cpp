// SPDX-License-Identifier: Apache-2.0

#include "aggregation/value_range.h"

#include <limits>
#include <vector>

#include "gtest/gtest.h"

namespace fedtune {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

ValueRange RangeOf(const std::vector<std::vector<float>>& pieces) {
  ValueRange range;
  for (const std::vector<float>& piece : pieces) range.Add(piece);
  return range;
}

TEST(ValueRangeTest, IsFiniteWithoutValues) {
  EXPECT_TRUE(RangeOf({}).finite());
  EXPECT_EQ(RangeOf({{}}).count(), 0);
}

TEST(ValueRangeTest, FindsTheLargestMagnitudeInAnyPiece) {
  const ValueRange range = RangeOf({{1, -2}, {0.5f, -7, 7}, {3}});
  EXPECT_EQ(range.count(), 6);
  EXPECT_EQ(range.extreme(), -7);
  EXPECT_EQ(range.extreme_index(), 3);
}

TEST(ValueRangeTest, NamesTheFirstValueThatIsNotFinite) {
  for (const float bad : {kInfinity, -kInfinity, kNan, -kNan}) {
    const ValueRange range = RangeOf({{1, 1e30f}, {2, bad, kNan}, {kInfinity, kNan}});
    EXPECT_FALSE(range.finite());
    EXPECT_EQ(range.extreme_index(), 3);
    EXPECT_EQ(range.count(), 7);
  }
}

}  // namespace
}  // namespace fedtune
