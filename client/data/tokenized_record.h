// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fedtune {

// One training example as the model sees it.
struct TokenizedRecord {
  std::vector<int32_t> tokens;
  // One for each token: 1 if the loss is taken over it, that is over its
  // prediction from all tokens before it. Never 1 for the first token.
  std::vector<uint8_t> is_target;
};

// How many bytes of memory they take.
int64_t MemoryOf(std::span<const TokenizedRecord> records);

}  // namespace fedtune
