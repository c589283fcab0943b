// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_hasher.h"

#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"

namespace fedtune {

void LogHasher::Add(std::string_view entry) {
  Digest hash = MerkleLeaf(SpanOf(entry));
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
