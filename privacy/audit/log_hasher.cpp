// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_hasher.h"

#include <bit>
#include <utility>

#include "fmt/format.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"

namespace fedtune {

absl::StatusOr<LogHasher> LogHasher::GoOnFrom(uint64_t size, std::vector<Digest> complete) {
  if (std::cmp_not_equal(complete.size(), std::popcount(size))) {
    return absl::InvalidArgumentError(
        fmt::format("a log of {} entries has no {} complete subtrees", size, complete.size()));
  }
  LogHasher hasher;
  hasher.size_ = size;
  hasher.complete_ = std::move(complete);
  return hasher;
}

void LogHasher::Add(std::string_view entry) { AddLeaf(MerkleLeaf(SpanOf(entry))); }

void LogHasher::AddLeaf(const Digest& leaf) {
  Digest hash = leaf;
  for (uint64_t rest = size_; rest % 2 == 1; rest /= 2) {
    hash = MerkleNode(complete_.back(), hash);
    complete_.pop_back();
  }
  complete_.push_back(hash);
  ++size_;
}

LogHead LogHasher::head() const {
  if (size_ == 0) return {.size = 0, .root = MerkleRoot({})};
  Digest root = complete_.back();
  for (size_t i = complete_.size() - 1; i > 0; --i) root = MerkleNode(complete_[i - 1], root);
  return {.size = size_, .root = root};
}

}  // namespace fedtune
