// SPDX-License-Identifier: Apache-2.0

#include "coordinator/storage/free_space.h"

#include <cstdint>
#include <iterator>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using Gaps = std::vector<std::pair<uint64_t, uint64_t>>;

Gaps GapsOf(const FreeSpace& space) {
  Gaps gaps;
  space.ForEachGap([&](uint64_t begin, uint64_t size) { gaps.emplace_back(begin, size); });
  return gaps;
}

TEST(FreeSpaceTest, WhatIsTakenLiesOneBehindTheOther) {
  FreeSpace space;
  EXPECT_EQ(space.Take(3), 0);
  EXPECT_EQ(space.Take(2), 3);
  EXPECT_EQ(space.Take(1), 5);
  EXPECT_THAT(GapsOf(space), IsEmpty());
}

TEST(FreeSpaceTest, TheSmallestGapThatFitsIsTaken) {
  FreeSpace space;
  for (const uint64_t size : {4, 1, 2, 1, 2, 1}) space.Take(size);
  space.GiveBack(0, 4);
  space.GiveBack(8, 2);
  space.GiveBack(5, 2);
  EXPECT_EQ(space.Take(2), 5);
  EXPECT_EQ(space.Take(1), 8);
  EXPECT_EQ(space.Take(3), 0);
  EXPECT_THAT(GapsOf(space), ElementsAre(Pair(3, 1), Pair(9, 1)));
  EXPECT_EQ(space.Take(2), 11);
}

TEST(FreeSpaceTest, GapsThatTouchBecomeOne) {
  FreeSpace space;
  for (int i = 0; i < 5; ++i) space.Take(2);
  space.GiveBack(2, 2);
  space.GiveBack(6, 2);
  space.GiveBack(4, 2);
  EXPECT_THAT(GapsOf(space), ElementsAre(Pair(2, 6)));
  EXPECT_EQ(space.Take(6), 2);
}

TEST(FreeSpaceTest, WhatWasTakenLastMakesRoomForSomethingLarger) {
  FreeSpace space;
  space.Take(2);
  space.Take(2);
  space.Take(2);
  space.GiveBack(2, 2);
  space.GiveBack(4, 2);
  EXPECT_THAT(GapsOf(space), ElementsAre(Pair(2, 4)));
  EXPECT_EQ(space.Take(5), 2);
  EXPECT_THAT(GapsOf(space), IsEmpty());
}

TEST(FreeSpaceTest, NothingThatIsTakenIsTakenAgain) {
  std::mt19937_64 random(7);
  FreeSpace space;
  std::map<uint64_t, uint64_t> taken;  // Sizes by where they begin.
  for (int i = 0; i < 20'000; ++i) {
    if (taken.empty() || random() % 5 < 3) {
      const uint64_t size = 1 + random() % 8, begin = space.Take(size);
      const auto behind = taken.lower_bound(begin);
      if (behind != taken.end()) {
        ASSERT_LE(begin + size, behind->first);
      }
      if (behind != taken.begin()) {
        const auto before = std::prev(behind);
        ASSERT_LE(before->first + before->second, begin);
      }
      taken.emplace(begin, size);
    } else {
      const auto one = taken.lower_bound(random() % (taken.rbegin()->first + 1));
      space.GiveBack(one->first, one->second);
      taken.erase(one);
    }
  }
  uint64_t free = 0, held = 0;
  for (const auto& [begin, size] : GapsOf(space)) free += size;
  for (const auto& [begin, size] : taken) held += size;
  for (const auto& [begin, size] : taken) space.GiveBack(begin, size);
  EXPECT_THAT(GapsOf(space), ElementsAre(Pair(0, free + held)));
}

// Each by going through what is taken would be 10^10 steps.
TEST(FreeSpaceTest, ManyAreTakenAndGivenBackWithoutGoingThroughAll) {
  constexpr uint64_t kMany = 200'000;
  FreeSpace space;
  for (uint64_t i = 0; i < kMany; ++i) ASSERT_EQ(space.Take(1), i);
  for (uint64_t i = 0; i < kMany; i += 2) space.GiveBack(i, 1);
  for (uint64_t i = 0; i < kMany; i += 2) ASSERT_EQ(space.Take(1), i);
  for (uint64_t i = 0; i < kMany; ++i) space.GiveBack(i, 1);
  EXPECT_THAT(GapsOf(space), ElementsAre(Pair(0, kMany)));
}

}  // namespace
}  // namespace fedtune
