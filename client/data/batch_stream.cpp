// SPDX-License-Identifier: Apache-2.0

#include "client/data/batch_stream.h"

#include <limits>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/splitmix64.h"

namespace fedtune {
namespace {

uint64_t Fnv1a64(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325;
  for (const char byte : text) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3;
  return hash;
}

// Evenly from 0 to `end` - 1.
uint64_t Below(uint64_t end, SplitMix64& random) {
  const uint64_t skipped = (0 - end) % end;  // 2^64 mod end.
  while (true) {
    const uint64_t draw = random.Next();
    if (draw >= skipped) return draw % end;
  }
}

}  // namespace

std::vector<uint32_t> EpochOrder(uint64_t seed, std::string_view institution, int64_t epoch,
                                 int64_t record_count) {
  std::vector<uint32_t> order(static_cast<size_t>(record_count));
  std::iota(order.begin(), order.end(), 0u);
  SplitMix64 random(SplitMix(SplitMix(seed) ^ Fnv1a64(institution)) +
                    SplitMix(static_cast<uint64_t>(epoch)));
  for (size_t i = order.size(); i-- > 1;) std::swap(order[i], order[Below(i + 1, random)]);
  return order;
}

BatchStream::BatchStream(Options options) : options_(std::move(options)) {
  Check(options_.record_count >= 1 && options_.record_count <= std::numeric_limits<uint32_t>::max(),
        "a batch stream needs between 1 and 2^32 - 1 records");
  Check(options_.batch_size >= 1, "a batch needs a record");
}

std::vector<int64_t> BatchStream::Batch(int64_t step) {
  Check(step >= 0, "steps count from 0");
  std::vector<int64_t> batch;
  batch.reserve(static_cast<size_t>(options_.batch_size));
  const int64_t first = step * options_.batch_size;
  for (int64_t at = first; at < first + options_.batch_size; ++at) {
    const std::vector<uint32_t>& order = Order(at / options_.record_count);
    batch.push_back(order[static_cast<size_t>(at % options_.record_count)]);
  }
  return batch;
}

const std::vector<uint32_t>& BatchStream::Order(int64_t epoch) {
  if (epoch != epoch_) {
    order_ = EpochOrder(options_.seed, options_.institution, epoch, options_.record_count);
    epoch_ = epoch;
  }
  return order_;
}

}  // namespace fedtune
