// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "privacy/audit/log_tree.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// The head of a log whose entries pass by one after the other: it keeps one hash for each
// bit of their number, and no entry. Movable and copyable: a copy goes on by itself. Not
// thread-safe.
class LogHasher {
 public:
  // The bytes of the next entry.
  void Add(std::string_view entry);

  uint64_t size() const { return size_; }

  // Of the entries so far.
  LogHead head() const;

 private:
  uint64_t size_ = 0;
  std::vector<Digest> complete_;  // Roots of the complete subtrees, the largest first.
};

}  // namespace fedtune
