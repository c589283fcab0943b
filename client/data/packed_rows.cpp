// SPDX-License-Identifier: Apache-2.0

#include "client/data/packed_rows.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "base/check.h"

namespace fedtune {
namespace {

constexpr int64_t kMostLookedAt = 1 << 21;  // Records, in all steps together.

PackedRows Larger(PackedRows a, PackedRows b) {
  return {.rows = std::max(a.rows, b.rows), .wanted = std::max(a.wanted, b.wanted)};
}

// Of `number` of each of the records, the largest, as many as are in a batch; one that is
// smaller than a batch is in it again.
int64_t SumOfLargest(std::span<const RecordRows> records, int64_t RecordRows::*number,
                     int64_t batch_size) {
  const auto count = static_cast<int64_t>(records.size());
  std::vector<int64_t> numbers;
  int64_t sum_of_all = 0;
  for (const RecordRows& record : records) {
    numbers.push_back(record.*number);
    sum_of_all += record.*number;
  }
  const auto rest = numbers.begin() + batch_size % count;
  std::nth_element(numbers.begin(), rest, numbers.end(), std::greater());
  int64_t sum = batch_size / count * sum_of_all;
  for (auto one = numbers.begin(); one != rest; ++one) sum += *one;
  return sum;
}

// The most that any step could have, in whatever order the records come.
PackedRows MostInAnyOrder(std::span<const RecordRows> records, int64_t batch_size) {
  const auto longest = std::ranges::max_element(records, {}, &RecordRows::rows)->rows;
  return {.rows = std::min(std::max(kMostPackedRows, longest),
                           SumOfLargest(records, &RecordRows::rows, batch_size)),
          .wanted = std::min(std::max(kMostPackedRows, longest),
                             SumOfLargest(records, &RecordRows::wanted, batch_size))};
}

}  // namespace

RecordRows RowsOf(const TokenizedRecord& record) {
  RecordRows rows = {.tokens = static_cast<int64_t>(record.tokens.size()), .rows = 0, .wanted = 0};
  for (size_t i = 0; i < record.is_target.size(); ++i) {
    if (record.is_target[i] == 0) continue;
    rows.rows = static_cast<int64_t>(i);
    ++rows.wanted;
  }
  if (rows.wanted == 0) rows.rows = rows.wanted = rows.tokens;
  return rows;
}

size_t CountTogether(std::span<const RecordRows> batch) {
  size_t count = 0;
  int64_t rows = 0;
  do {
    rows += batch[count++].rows;
  } while (count < batch.size() && rows + batch[count].tokens <= kMostPackedRows);
  return count;
}

PackedRows MostRowsOf(std::span<const RecordRows> batch) {
  PackedRows most;
  while (!batch.empty()) {
    const size_t count = CountTogether(batch);
    PackedRows together;
    for (const RecordRows& record : batch.first(count)) {
      together.rows += record.rows;
      together.wanted += record.wanted;
    }
    most = Larger(most, together);
    batch = batch.subspan(count);
  }
  return most;
}

PackedRows MostRowsOf(std::span<const RecordRows> records, const BatchStream::Options& order,
                      int64_t steps) {
  Check(order.record_count == static_cast<int64_t>(records.size()), "an order of other records");
  if (steps > kMostLookedAt / order.batch_size) return MostInAnyOrder(records, order.batch_size);
  BatchStream stream(order);
  std::vector<RecordRows> batch;
  PackedRows most;
  for (int64_t step = 0; step < steps; ++step) {
    batch.clear();
    for (const int64_t index : stream.Batch(step)) {
      batch.push_back(records[static_cast<size_t>(index)]);
    }
    most = Larger(most, MostRowsOf(batch));
  }
  return most;
}

}  // namespace fedtune
