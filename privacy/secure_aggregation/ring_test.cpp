// SPDX-License-Identifier: Apache-2.0

#include "privacy/secure_aggregation/ring.h"

#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;

constexpr RingBits kRings[] = {RingBits::k16, RingBits::k24, RingBits::k32};

TEST(RingTest, PacksTheLowBytesFirst) {
  const std::vector<uint32_t> values = {0x04030201, 0xfffefdfc};
  std::vector<uint8_t> packed(4);
  PackRing(RingBits::k16, values, packed);
  EXPECT_THAT(packed, ElementsAre(1, 2, 0xfc, 0xfd));
  packed.resize(6);
  PackRing(RingBits::k24, values, packed);
  EXPECT_THAT(packed, ElementsAre(1, 2, 3, 0xfc, 0xfd, 0xfe));
  packed.resize(8);
  PackRing(RingBits::k32, values, packed);
  EXPECT_THAT(packed, ElementsAre(1, 2, 3, 4, 0xfc, 0xfd, 0xfe, 0xff));
}

TEST(RingTest, SumsWrapAround) {
  for (const RingBits bits : kRings) {
    std::vector<uint32_t> sum = {RingMask(bits), RingMask(bits) - 1};
    std::vector<uint8_t> twos(2 * BytesPerElement(bits));
    PackRing(bits, std::vector<uint32_t>{2, 2}, twos);
    AddPacked(bits, twos, sum);
    EXPECT_THAT(sum, ElementsAre(1, 0));
  }
}

std::vector<uint32_t> Values(size_t count, std::mt19937& random) {
  std::vector<uint32_t> values(count);
  for (uint32_t& value : values) value = static_cast<uint32_t>(random());
  return values;
}

TEST(RingTest, SumsOfPackedVectorsAreThoseOfTheValues) {
  std::mt19937 random(1);
  for (const RingBits bits : kRings) {
    std::vector<uint32_t> sum(1001);
    std::vector<uint32_t> expected(1001);
    for (int client = 0; client < 5; ++client) {
      const std::vector<uint32_t> values = Values(sum.size(), random);
      for (size_t i = 0; i < sum.size(); ++i) expected[i] += values[i];
      std::vector<uint8_t> packed(values.size() * BytesPerElement(bits));
      PackRing(bits, values, packed);
      AddPacked(bits, packed, sum);
    }
    for (uint32_t& value : expected) value &= RingMask(bits);
    EXPECT_EQ(sum, expected);
  }
}

TEST(RingDeathTest, RefusesBytesThatDoNotFit) {
  std::vector<uint32_t> sum(2);
  EXPECT_DEATH(AddPacked(RingBits::k24, std::vector<uint8_t>(8), sum), "packed elements fit");
}

}  // namespace
}  // namespace fedtune
