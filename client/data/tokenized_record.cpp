// SPDX-License-Identifier: Apache-2.0

#include "client/data/tokenized_record.h"

#include <algorithm>
#include <cstddef>

namespace fedtune {
namespace {

// As the C library gives it out: with a word before it, in steps of two.
size_t Allocated(size_t bytes) {
  constexpr size_t kWord = sizeof(size_t), kStep = 2 * kWord;
  return bytes == 0 ? 0 : std::max((bytes + kWord + kStep - 1) / kStep * kStep, 2 * kStep);
}

}  // namespace

int64_t MemoryOf(std::span<const TokenizedRecord> records) {
  size_t bytes = records.size_bytes();
  for (const TokenizedRecord& record : records) {
    bytes += Allocated(record.tokens.capacity() * sizeof(record.tokens[0]));
    bytes += Allocated(record.is_target.capacity());
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace fedtune
