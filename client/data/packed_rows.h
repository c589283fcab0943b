// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "client/data/batch_stream.h"
#include "client/data/tokenized_record.h"

namespace fedtune {

// So many rows, one for each token, go through the model together. A larger batch is cut, and
// its gradients add up; a longer record goes alone.
inline constexpr int64_t kMostPackedRows = 8192;

// What a record is where records are packed, one behind the other and nothing between them.
struct RecordRows {
  int64_t tokens = 0;  // By these it is decided with which others it goes.
  int64_t rows = 0;    // That go through the model: all before its last target.
  int64_t wanted = 0;  // Those of them whose prediction is wanted: one for each target.
};

// A record without targets, which nobody trains on, counts with all of its tokens.
RecordRows RowsOf(const TokenizedRecord& record);

// How many records from the front of `batch`, which is not empty, go through the model
// together: at least one.
size_t CountTogether(std::span<const RecordRows> batch);

// The most rows that go through the model together, and the most that are wanted of them,
// which may be at another time.
struct PackedRows {
  int64_t rows = 0;
  int64_t wanted = 0;
};

// Of one step's batch.
PackedRows MostRowsOf(std::span<const RecordRows> batch);

// Of `steps` steps of `order` over `records`, of which there are as many as it says. Of more
// than two million records in all steps the rest is not looked at one by one: what could come
// of it is taken, the longest of all records in one step. Takes about 0.1 seconds then.
PackedRows MostRowsOf(std::span<const RecordRows> records, const BatchStream::Options& order,
                      int64_t steps);

}  // namespace fedtune
