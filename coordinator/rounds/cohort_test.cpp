// SPDX-License-Identifier: Apache-2.0

#include "coordinator/rounds/cohort.h"

#include <algorithm>
#include <map>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::SizeIs;

std::vector<Institution> Ten() {
  std::vector<Institution> institutions;
  institutions.reserve(10);
  for (int i = 0; i < 10; ++i) institutions.push_back({fmt::format("clinic-{}", i)});
  return institutions;
}

TEST(DrawCohortTest, TakesAllWhenNoSizeIsAskedFor) {
  EXPECT_THAT(DrawCohort({{"uke"}, {"charite"}}, 0, 7, 0),
              ElementsAre(Institution{"charite"}, Institution{"uke"}));
}

TEST(DrawCohortTest, TakesAllWhenThereAreFewer) {
  EXPECT_THAT(DrawCohort(Ten(), 10, 7, 0), SizeIs(10));
  EXPECT_THAT(DrawCohort(Ten(), 11, 7, 0), SizeIs(10));
}

TEST(DrawCohortTest, DoesNotDependOnTheOrderOfTheCandidates) {
  std::vector<Institution> reversed = Ten();
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(DrawCohort(Ten(), 4, 7, 3), DrawCohort(reversed, 4, 7, 3));
}

TEST(DrawCohortTest, ReplacesOnlyTheOneThatIsMissing) {
  const std::vector<Institution> cohort = DrawCohort(Ten(), 4, 7, 3);
  std::vector<Institution> rest = Ten();
  std::erase(rest, cohort[1]);
  const std::vector<Institution> redrawn = DrawCohort(rest, 4, 7, 3);
  EXPECT_THAT(redrawn, SizeIs(4));
  for (const size_t kept : {0u, 2u, 3u}) EXPECT_THAT(redrawn, Contains(cohort[kept]));
}

// Each count is binomial(2000, 0.4): 800 with a standard deviation of 21.9. The
// seed is fixed, so this either always passes or never.
TEST(DrawCohortTest, DrawsEveryoneAboutEquallyOften) {
  std::map<Institution, int> drawn;
  for (int64_t round = 0; round < 2000; ++round) {
    for (const Institution& institution : DrawCohort(Ten(), 4, 7, round)) ++drawn[institution];
  }
  ASSERT_THAT(drawn, SizeIs(10));
  for (const auto& [institution, count] : drawn) EXPECT_NEAR(count, 800, 110) << institution.value;
}

TEST(DrawCohortTest, DrawsAnotherCohortForAnotherSeed) {
  EXPECT_NE(DrawCohort(Ten(), 5, 7, 0), DrawCohort(Ten(), 5, 8, 0));
}

}  // namespace
}  // namespace fedtune
