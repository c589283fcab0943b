// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/release/stored_optimizer_state.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <span>
#include <vector>

namespace fedtune {
namespace {

// Stored moments need not lie where a float may.
void Read(const Blob& blob, uint64_t offset, std::span<float> values) {
  const auto bytes = blob.bytes().subspan(offset, values.size_bytes());
  std::memcpy(values.data(), bytes.data(), bytes.size());
}

}  // namespace

SteppedValues::Block LoadBlock(const GlobalAdapter& adapter, const StoredOptimizerState& state,
                               int64_t first, SteppedValues::Block block) {
  const auto values = adapter.values().subspan(static_cast<size_t>(first), block.values.size());
  std::copy(values.begin(), values.end(), block.values.begin());
  if (state.head.first_count == 0) block.first_moment = {};
  if (state.head.second_count == 0) block.second_moment = {};
  if (!block.first_moment.empty()) {
    Read(state.blob, state.head.FirstAt(first), block.first_moment);
  }
  if (!block.second_moment.empty()) {
    Read(state.blob, state.head.SecondAt(first), block.second_moment);
  }
  return block;
}

std::shared_ptr<const StepSums> SumsOf(const GlobalAdapter& adapter,
                                       const StoredOptimizerState& state) {
  const int64_t count = std::ssize(adapter.values());
  auto sums = std::make_shared<StepSums>(count);
  std::array<std::vector<float>, 3> parts;
  for (int64_t first = 0; first < count; first += SteppedValues::kBlockValues) {
    for (auto& part : parts) {
      part.resize(static_cast<size_t>(std::min(SteppedValues::kBlockValues, count - first)));
    }
    sums->Note(first, LoadBlock(adapter, state, first, {parts[0], parts[1], parts[2]}));
  }
  return sums;
}

}  // namespace fedtune
