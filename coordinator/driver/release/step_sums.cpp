// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/release/step_sums.h"

#include <cstddef>
#include <span>

#include "coordinator/driver/contributions/block_sums.h"

namespace fedtune {
namespace {

std::array<uint64_t, 3> SumsOfBlock(const SteppedValues::Block& block) {
  return {BlockSums::Of(std::as_bytes(block.values)),
          BlockSums::Of(std::as_bytes(block.first_moment)),
          BlockSums::Of(std::as_bytes(block.second_moment))};
}

size_t BlockAt(int64_t first) { return static_cast<size_t>(first / SteppedValues::kBlockValues); }

}  // namespace

StepSums::StepSums(int64_t value_count)
    : sums_(BlockAt(value_count + SteppedValues::kBlockValues - 1)) {}

void StepSums::Note(int64_t first, const SteppedValues::Block& block) {
  sums_[BlockAt(first)] = SumsOfBlock(block);
}

bool StepSums::AreOf(int64_t first, const SteppedValues::Block& block) const {
  return sums_[BlockAt(first)] == SumsOfBlock(block);
}

}  // namespace fedtune
