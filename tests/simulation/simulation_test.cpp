// SPDX-License-Identifier: Apache-2.0

// Random schedules of faults: whatever fails, a run keeps its promises. A seed that
// fails is named with the command that shows how. FEDTUNE_NIGHT=1 runs a hundred
// times as many.

#include <cstdlib>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/simulation/planted_bugs.h"
#include "tests/simulation/world.h"

namespace fedtune::simulation {
namespace {

constexpr uint64_t kSlices = 4;
#ifdef FEDTUNE_UNDER_SANITIZER
constexpr uint64_t kSeedsInASlice = 50;
#else
constexpr uint64_t kSeedsInASlice = 250;
#endif
constexpr uint64_t kNights = 100;
constexpr uint64_t kSeedsForABug = 2000;

uint64_t SeedsInASlice() {
  return std::getenv("FEDTUNE_NIGHT") != nullptr ? kNights * kSeedsInASlice : kSeedsInASlice;
}

std::string Replay(uint64_t seed, const std::string& violation) {
  return fmt::format("seed {}: {}; shown by: simulate_schedule {} --trace", seed, violation, seed);
}

class ScheduleTest : public ::testing::TestWithParam<uint64_t> {};

TEST_P(ScheduleTest, KeepsEveryInvariant) {
  Doubles doubles;
  int64_t counted = 0;
  int64_t late = 0;
  const uint64_t first = GetParam() * SeedsInASlice();
  for (uint64_t seed = first; seed < first + SeedsInASlice(); ++seed) {
    World world(seed, doubles);
    world.Run();
    for (const std::string& violation : world.auditor().violations()) {
      ADD_FAILURE() << Replay(seed, violation);
    }
    counted += world.auditor().counted();
    late += world.auditor().late();
  }
  // Schedules in which nothing comes about would show nothing.
  EXPECT_GT(counted, static_cast<int64_t>(3 * SeedsInASlice()));
  EXPECT_GT(late, static_cast<int64_t>(SeedsInASlice() / 10));
}

INSTANTIATE_TEST_SUITE_P(Slices, ScheduleTest, ::testing::Range(uint64_t{0}, kSlices));

TEST(QuietScheduleTest, CountsEveryClientInEveryRound) {
  Doubles doubles;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    World world(seed, doubles, /*quiet=*/true);
    world.Run();
    const SchedulePlan& plan = world.ground().plan;
    EXPECT_THAT(world.auditor().violations(), ::testing::IsEmpty()) << seed;
    EXPECT_EQ(world.auditor().released(), plan.rounds) << seed;
    EXPECT_EQ(world.auditor().counted(), plan.rounds * plan.clients) << seed;
  }
}

TEST(ReplayTest, ASeedTellsTheSameStoryEveryTime) {
  Doubles doubles;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    World first(seed, doubles);
    first.Run();
    World second(seed, doubles);
    second.Run();
    EXPECT_EQ(first.Story(), second.Story()) << seed;
    EXPECT_EQ(first.auditor().adapters(), second.auditor().adapters()) << seed;
  }
}

class PlantedBugTest : public ::testing::TestWithParam<PlantedBug> {};

TEST_P(PlantedBugTest, IsFound) {
#ifdef FEDTUNE_UNDER_SANITIZER
  GTEST_SKIP() << "they show what schedules find, not what a sanitizer does";
#endif
  for (uint64_t seed = 0; seed < kSeedsForABug; ++seed) {
    const std::unique_ptr<Doubles> doubles = GetParam().plant();
    World world(seed, *doubles);
    world.Run();
    for (const std::string& violation : world.auditor().violations()) {
      if (violation.find(GetParam().violation) == std::string::npos) continue;
      RecordProperty("seed", static_cast<int>(seed));
      return;
    }
  }
  FAIL() << "no schedule shows it";
}

INSTANTIATE_TEST_SUITE_P(Bugs, PlantedBugTest, ::testing::ValuesIn(PlantedBugs()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace fedtune::simulation
