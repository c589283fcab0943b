// SPDX-License-Identifier: Apache-2.0

#include "client/data/packed_rows.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"

namespace fedtune {
namespace {

// A record with a prompt, of whose last token no row goes through the model.
RecordRows Record(int64_t prompt, int64_t answer) {
  return {.tokens = prompt + answer, .rows = prompt + answer - 1, .wanted = answer};
}

TEST(PackedRowsTest, OfARecordAreAllBeforeItsLastTarget) {
  const RecordRows rows = RowsOf({.tokens = {1, 2, 3, 4, 5, 6}, .is_target = {0, 0, 1, 0, 1, 0}});
  EXPECT_EQ(rows.tokens, 6);
  EXPECT_EQ(rows.rows, 4);
  EXPECT_EQ(rows.wanted, 2);
}

TEST(PackedRowsTest, ABatchHasTheRowsThatItsRecordsHaveTogether) {
  const std::vector<RecordRows> batch = {Record(100, 1), Record(5, 5), Record(1, 3)};
  EXPECT_EQ(MostRowsOf(batch).rows, 100 + 9 + 3);
  EXPECT_EQ(MostRowsOf(batch).wanted, 1 + 5 + 3);
}

TEST(PackedRowsTest, ALargeBatchIsCutAndItsLargestPartCounts) {
  const std::vector<RecordRows> batch = {Record(5000, 1), Record(3000, 2), Record(4000, 3),
                                         Record(9000, 4)};
  EXPECT_EQ(CountTogether(batch), 2U);
  EXPECT_EQ(MostRowsOf(batch).rows, 9003);
  EXPECT_EQ(MostRowsOf(batch).wanted, 4);
}

// Mostly short ones, as institutions have them.
std::vector<RecordRows> MixedRecords() {
  std::vector<RecordRows> records;
  for (int64_t i = 0; i < 1000; ++i) records.push_back(Record(i % 50 == 0 ? 1000 : 20, 1 + i % 3));
  return records;
}

BatchStream::Options InBatchesOf8() {
  return {.seed = 7, .institution = "north", .record_count = 1000, .batch_size = 8};
}

TEST(PackedRowsTest, OfARunAreThoseOfItsLargestStep) {
  const std::vector<RecordRows> records = MixedRecords();
  BatchStream stream(InBatchesOf8());
  int64_t rows = 0, wanted = 0;
  for (int64_t step = 0; step < 300; ++step) {
    int64_t rows_of_step = 0, wanted_of_step = 0;
    for (const int64_t index : stream.Batch(step)) {
      rows_of_step += records[static_cast<size_t>(index)].rows;
      wanted_of_step += records[static_cast<size_t>(index)].wanted;
    }
    rows = std::max(rows, rows_of_step);
    wanted = std::max(wanted, wanted_of_step);
  }
  const PackedRows most = MostRowsOf(records, InBatchesOf8(), 300);
  EXPECT_EQ(most.rows, rows);
  EXPECT_EQ(most.wanted, wanted);
  EXPECT_LT(most.rows, 8 * 1000 / 2) << "long records seldom come together";
}

TEST(PackedRowsTest, OfARunWithoutEndAreThoseOfItsLongestRecordsTogether) {
  const PackedRows most = MostRowsOf(MixedRecords(), InBatchesOf8(), int64_t{1} << 40);
  EXPECT_EQ(most.rows, 7 * 1002 + 1001) << "every third of the 20 long ones has two more";
  EXPECT_EQ(most.wanted, 8 * 3);
}

TEST(PackedRowsTest, FewRecordsComeAgainInOneStep) {
  const std::vector<RecordRows> records = {Record(10, 1), Record(20, 1)};
  const BatchStream::Options order = {
      .seed = 7, .institution = "north", .record_count = 2, .batch_size = 5};
  EXPECT_EQ(MostRowsOf(records, order, 1 << 30).rows, 2 * 30 + 20);
}

}  // namespace
}  // namespace fedtune
