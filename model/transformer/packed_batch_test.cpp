// SPDX-License-Identifier: Apache-2.0

#include "model/transformer/packed_batch.h"

#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;

std::vector<int64_t> Values(const at::Tensor& tensor) {
  const int64_t* begin = tensor.const_data_ptr<int64_t>();
  return {begin, begin + tensor.numel()};
}

std::vector<int32_t> Tokens(int32_t count) { return std::vector<int32_t>(count, 7); }

TEST(PackedBatchTest, PositionsContinueThoseOfThePrefix) {
  PackedBatch batch;
  const int64_t prompt = batch.Add(Tokens(3));
  batch.AddContinuation(prompt, Tokens(2));
  batch.AddContinuation(prompt, Tokens(1));
  EXPECT_THAT(batch.positions(), ElementsAre(0, 1, 2, 3, 4, 3));
  EXPECT_EQ(batch.segments()[2].prefix_begin, 0);
  EXPECT_EQ(batch.segments()[2].prefix_end, 3);
}

TEST(PackedBatchTest, OneSequenceNeedsNoMoving) {
  PackedBatch batch;
  batch.Add(Tokens(5));
  const AttentionPlan plan = PlanAttention(batch, at::kCPU);
  EXPECT_TRUE(plan.in_order);
  ASSERT_EQ(plan.blocks.size(), 1u);
  EXPECT_FALSE(plan.blocks[0].mask.defined());
}

TEST(PackedBatchTest, ShortSequencesArePaddedTogether) {
  PackedBatch batch;
  batch.Add(Tokens(2));
  batch.Add(Tokens(3));
  const AttentionPlan plan = PlanAttention(batch, at::kCPU);
  EXPECT_FALSE(plan.in_order);
  ASSERT_EQ(plan.blocks.size(), 1u);
  EXPECT_EQ(plan.blocks[0].count, 2);
  EXPECT_EQ(plan.blocks[0].query_length, 3);
  EXPECT_THAT(Values(plan.row_of_slot), ElementsAre(2, 3, 4, 0, 1, 1));
  EXPECT_THAT(Values(plan.slot_of_row), ElementsAre(3, 4, 0, 1, 2));
}

TEST(PackedBatchTest, LongSequencesOfDifferentLengthsAreNot) {
  PackedBatch batch;
  batch.Add(Tokens(1000));
  batch.Add(Tokens(900));
  batch.Add(Tokens(300));
  const AttentionPlan plan = PlanAttention(batch, at::kCPU);
  ASSERT_EQ(plan.blocks.size(), 2u);
  EXPECT_EQ(plan.blocks[0].count, 2);
  EXPECT_EQ(plan.blocks[1].query_length, 300);
}

TEST(PackedBatchTest, ContinuationsSeeThePrefixAndThemselvesButNotEachOther) {
  PackedBatch batch;
  const int64_t prompt = batch.Add(Tokens(2));
  batch.AddContinuation(prompt, Tokens(2));
  batch.AddContinuation(prompt, Tokens(1));
  const AttentionPlan plan = PlanAttention(batch, at::kCPU);
  ASSERT_EQ(plan.blocks.size(), 2u);
  const AttentionBlock& block = plan.blocks[1];
  EXPECT_THAT(Values(block.key_rows), ElementsAre(0, 1, 2, 3, 4));
  const bool* seen = block.mask.const_data_ptr<bool>();
  EXPECT_THAT(std::vector<bool>(seen, seen + 15), ElementsAre(true, true, true, false, false,  //
                                                              true, true, true, true, false,   //
                                                              true, true, false, false, true));
}

}  // namespace
}  // namespace fedtune
