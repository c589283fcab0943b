// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "absl/functional/function_ref.h"

namespace fedtune {

// Which bytes of a file are taken, and the gaps between them. Each call takes a time that
// grows with the logarithm of the number of gaps, however much is taken. Not thread-safe.
class FreeSpace {
 public:
  // Takes so many bytes, at least one, and says where they begin: in the smallest gap in which
  // they fit, of several the first, or behind all that is taken.
  uint64_t Take(uint64_t size);

  // Requires: Take() gave them, and they were not given back since.
  void GiveBack(uint64_t begin, uint64_t size);

  // Calls `use` with where each gap begins and with its size, up to the last byte that was ever
  // taken.
  void ForEachGap(absl::FunctionRef<void(uint64_t begin, uint64_t size)> use) const;

 private:
  using Gaps = std::map<uint64_t, uint64_t>;  // Sizes by where they begin.

  void Add(uint64_t begin, uint64_t size);
  Gaps::iterator Remove(Gaps::iterator gap);

  Gaps gaps_;                                        // None touches another, or the end.
  std::set<std::pair<uint64_t, uint64_t>> by_size_;  // The same: size, begin.
  uint64_t end_ = 0;                                 // Behind it nothing is taken,
  uint64_t furthest_ = 0;                            // and behind this never was.
};

}  // namespace fedtune
