// SPDX-License-Identifier: Apache-2.0

#include <numeric>

#include "ATen/ops/from_blob.h"
#include "ATen/ops/zeros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/transformer/expert_plan.h"

namespace fedtune {
namespace {

// Two choices for each of `rows` rows; expert 0 is everybody's first.
at::Tensor Choices(int64_t rows) {
  at::Tensor choices = at::zeros({rows, 2}, at::TensorOptions(at::kLong));
  for (int64_t row = 0; row < rows; ++row) choices[row][1].fill_(1 + row % 2);
  return choices;
}

// Where each expert's slots begin.
std::vector<int64_t> Begins(const ExpertPlan& plan) {
  std::vector<int64_t> begins(plan.counts.size());
  std::exclusive_scan(plan.counts.begin(), plan.counts.end(), begins.begin(), int64_t{0});
  return begins;
}

TEST(PlanExpertsTest, EveryChoiceHasASlotAmongItsExperts) {
  for (const int64_t rows : {1, 5, 127, 300}) {
    const at::Tensor choices = Choices(rows);
    const ExpertPlan plan = PlanExperts(choices, 4, SlotPadding::kRounded);
    const std::vector<int64_t> begins = Begins(plan);
    for (int64_t i = 0; i < 2 * rows; ++i) {
      const auto expert = static_cast<size_t>(choices.view(-1)[i].item<int64_t>());
      const auto slot = plan.slot_of_choice[i].item<int64_t>();
      EXPECT_GE(slot, begins[expert]);
      EXPECT_LT(slot, begins[expert] + plan.counts[expert]);
      EXPECT_EQ(plan.row_of_slot[slot].item<int64_t>(), i / 2);
    }
  }
}

TEST(PlanExpertsTest, PadsLargeNumbersOfSlotsToFiveBinaryDigits) {
  EXPECT_THAT(PlanExperts(Choices(100), 4, SlotPadding::kRounded).counts,
              testing::ElementsAre(100, 50, 50, 0));
  const ExpertPlan plan = PlanExperts(Choices(301), 4, SlotPadding::kRounded);
  EXPECT_THAT(plan.counts, testing::ElementsAre(304, 152, 152, 0));
  EXPECT_THAT(plan.rows, testing::ElementsAre(301, 151, 150, 0));
  EXPECT_EQ(plan.row_of_slot.size(0), 304 + 2 * 152);
}

}  // namespace
}  // namespace fedtune
