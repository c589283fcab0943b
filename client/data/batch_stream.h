// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fedtune {

// The order in which an institution's records are trained on.
//
// Every epoch is one shuffle of all records, and the batches follow each other
// through the epochs: one that reaches the end of an epoch goes on in the next,
// so every record is trained on equally often. A batch depends on nothing but
// the options and the step: a client that was restarted goes on where it was.
//
// The shuffle of an epoch is Fisher and Yates' (Durstenfeld, 1964): for i from
// count - 1 down to 1, records i and j change places, where j is drawn evenly
// from 0 to i. The n-th draw of an epoch is SplitMix64's n-th output (Steele et
// al., 2014) from the state
//
//   Mix(Mix(seed) ^ FNV-1a-64(institution)) + Mix(epoch)
//
// and a draw below 2^64 mod (i + 1) is skipped, the others are taken modulo
// i + 1. These orders are part of what a run is: they must not change. They are
// no Poisson samples, which the accounting of differential privacy wants.
class BatchStream {
 public:
  struct Options {
    uint64_t seed = 0;
    std::string institution;
    int64_t record_count = 0;  // At least 1, and less than 2^32.
    int64_t batch_size = 0;    // At least 1; may be larger than record_count.
  };

  explicit BatchStream(Options options);

  // The indices of the records of `step`, which counts from 0. Not thread-safe:
  // the order of the epoch in use is kept. Computing one takes O(record_count).
  std::vector<int64_t> Batch(int64_t step);

 private:
  const std::vector<uint32_t>& Order(int64_t epoch);

  const Options options_;
  int64_t epoch_ = -1;           // Whose order is kept; -1: none.
  std::vector<uint32_t> order_;  // [record_count]
};

// The order of one epoch: each index below `record_count` once.
std::vector<uint32_t> EpochOrder(uint64_t seed, std::string_view institution, int64_t epoch,
                                 int64_t record_count);

}  // namespace fedtune
