// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace fedtune {

// Which pairs of tokens become which token, and which pair comes first.
// Thread-safe once all rules are in.
class MergeRules {
 public:
  // A later rule for the same pair takes the place of an earlier one.
  void Set(int32_t left, int32_t right, uint32_t rank, int32_t merged);

  // Applies the rules to the tokens from `first` on until none applies: always
  // the rule with the lowest rank, and of its places the leftmost.
  // O(n log n) for n tokens.
  void Apply(std::vector<int32_t>& tokens, size_t first) const;

 private:
  struct Rule {
    uint32_t rank;
    int32_t merged;
  };

  const Rule* Find(int32_t left, int32_t right) const;
  void ApplyByScanning(std::vector<int32_t>& tokens, size_t first) const;
  void ApplyByQueue(std::vector<int32_t>& tokens, size_t first) const;

  friend class MergeQueue;
  absl::flat_hash_map<uint64_t, Rule> rules_;  // By both tokens.
};

}  // namespace fedtune
