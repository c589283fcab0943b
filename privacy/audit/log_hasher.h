// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "privacy/audit/log_tree.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// The head of a log whose entries pass by one after the other: it keeps one hash for each
// bit of their number, and no entry. Movable and copyable: a copy goes on by itself. Not
// thread-safe.
class LogHasher {
 public:
  LogHasher() = default;

  // Goes on from another one's size and hashes. INVALID_ARGUMENT: another number of hashes
  // than a log of that size has.
  static absl::StatusOr<LogHasher> GoOnFrom(uint64_t size, std::vector<Digest> complete);

  // The bytes of the next entry, or their hash as a leaf.
  void Add(std::string_view entry);
  void AddLeaf(const Digest& leaf);

  uint64_t size() const { return size_; }

  // The roots of the complete subtrees of which the tree consists, the largest first: one for
  // each bit of size() that is set.
  const std::vector<Digest>& complete() const { return complete_; }

  // Of the entries so far.
  LogHead head() const;

 private:
  uint64_t size_ = 0;
  std::vector<Digest> complete_;
};

}  // namespace fedtune
