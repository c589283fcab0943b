// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/contribution_queue.h"

#include <deque>
#include <string>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

HandedIn From(const std::string& client) {
  return {.from = {client}, .header = {}, .what = VerifiedValues{}};
}

TEST(ContributionQueueTest, GivesOneOfEachClientInTheirOrder) {
  HandedIn ada = From("ada");
  HandedIn ada_again = From("ada");
  HandedIn bea = From("bea");
  ContributionQueue queue;
  for (HandedIn* handed : {&ada, &ada_again, &bea}) queue.Add(*handed);
  EXPECT_THAT(queue.NextTogether(), ElementsAre(&ada, &bea));
  EXPECT_THAT(queue.NextTogether(), ElementsAre(&ada_again));
  EXPECT_THAT(queue.NextTogether(), IsEmpty());
}

TEST(ContributionQueueTest, GivesNoMoreThanOneTransactionTakes) {
  std::deque<HandedIn> all;
  ContributionQueue queue;
  for (size_t i = 0; i < ContributionQueue::kMostTogether + 1; ++i) {
    queue.Add(all.emplace_back(From(fmt::format("site-{}", i))));
  }
  EXPECT_THAT(queue.NextTogether(), SizeIs(ContributionQueue::kMostTogether));
  EXPECT_THAT(queue.NextTogether(), ElementsAre(&all.back()));
}

TEST(ContributionArrivalsTest, WantsOneThreadUntilNothingComes) {
  HandedIn ada = From("ada");
  HandedIn bea = From("bea");
  HandedIn coy = From("coy");
  ContributionArrivals arrivals;
  EXPECT_TRUE(arrivals.Add(ada));
  EXPECT_FALSE(arrivals.Add(bea));
  EXPECT_THAT(arrivals.Next(), ElementsAre(&ada, &bea));
  EXPECT_FALSE(arrivals.Add(coy));
  EXPECT_THAT(arrivals.Next(), ElementsAre(&coy));
  EXPECT_THAT(arrivals.Next(), IsEmpty());
  EXPECT_TRUE(arrivals.Add(ada));
}

}  // namespace
}  // namespace fedtune
