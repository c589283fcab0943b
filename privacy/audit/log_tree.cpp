// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_tree.h"

#include <bit>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "privacy/crypto/merkle_tree.h"

namespace fedtune {
namespace {

// Some leaves beside each other. All those below are as RFC 6962 divides them: but for its
// last part, every one is a complete subtree.
struct Leaves {
  uint64_t first = 0;
  uint64_t count = 0;
};

// The largest power of two below `count`, which is at least 2.
uint64_t LeftPart(uint64_t count) { return std::bit_floor(count - 1); }

absl::StatusOr<Digest> RootOf(const SubtreeHashes& hashes, Leaves leaves) {
  if (std::has_single_bit(leaves.count)) {
    return hashes.Hash(std::countr_zero(leaves.count), leaves.first / leaves.count);
  }
  const uint64_t left = LeftPart(leaves.count);
  ASSIGN_OR_RETURN(const Digest left_root, RootOf(hashes, {leaves.first, left}));
  ASSIGN_OR_RETURN(const Digest right_root,
                   RootOf(hashes, {leaves.first + left, leaves.count - left}));
  return MerkleNode(left_root, right_root);
}

// PATH(index, leaves) of section 2.1.1.
absl::Status AddPath(const SubtreeHashes& hashes, uint64_t index, Leaves leaves,
                     std::vector<Digest>& path) {
  if (leaves.count == 1) return absl::OkStatus();
  const uint64_t left = LeftPart(leaves.count);
  Leaves within = {leaves.first, left};
  Leaves beside = {leaves.first + left, leaves.count - left};
  if (index >= beside.first) std::swap(within, beside);
  RETURN_IF_ERROR(AddPath(hashes, index, within, path));
  ASSIGN_OR_RETURN(const Digest sibling, RootOf(hashes, beside));
  path.push_back(sibling);
  return absl::OkStatus();
}

// SUBPROOF(old_count, leaves, is_known) of section 2.1.2; `is_known`: whoever verifies has
// the root of these leaves if they are all of the old ones.
absl::Status AddSubproof(const SubtreeHashes& hashes, uint64_t old_count, Leaves leaves,
                         bool is_known, std::vector<Digest>& proof) {
  if (old_count == leaves.count) {
    if (is_known) return absl::OkStatus();
    ASSIGN_OR_RETURN(const Digest root, RootOf(hashes, leaves));
    proof.push_back(root);
    return absl::OkStatus();
  }
  const uint64_t left = LeftPart(leaves.count);
  Leaves within = {leaves.first, left};
  Leaves beside = {leaves.first + left, leaves.count - left};
  if (old_count > left) {
    std::swap(within, beside);
    old_count -= left;
    is_known = false;
  }
  RETURN_IF_ERROR(AddSubproof(hashes, old_count, within, is_known, proof));
  ASSIGN_OR_RETURN(const Digest sibling, RootOf(hashes, beside));
  proof.push_back(sibling);
  return absl::OkStatus();
}

absl::Status WrongLength(const LogHead& old, const LogHead& head, size_t hashes) {
  return absl::InvalidArgumentError(
      fmt::format("{} hashes are no proof that a log of {} entries begins with one of {}", hashes,
                  head.size, old.size));
}

// The two roots that a proof leads to.
struct Roots {
  Digest old;
  Digest head;
};

// Upwards, as RFC 9162 section 2.1.4.2 says. Requires: 0 < old.size < head.size.
absl::StatusOr<Roots> Follow(const LogHead& old, const LogHead& head,
                             std::span<const Digest> proof) {
  uint64_t place = old.size - 1;
  uint64_t last = head.size - 1;
  const int complete = std::countr_one(place);
  place >>= complete;
  last >>= complete;
  std::span<const Digest> rest = proof;
  Digest start = old.root;  // If the old leaves are one complete subtree.
  if (place != 0) {
    if (proof.empty()) return WrongLength(old, head, proof.size());
    start = proof.front();
    rest = proof.subspan(1);
  }
  Roots roots = {start, start};
  for (const Digest& hash : rest) {
    if (last == 0) return WrongLength(old, head, proof.size());
    if (place % 2 == 1 || place == last) {
      roots = {MerkleNode(hash, roots.old), MerkleNode(hash, roots.head)};
      const int levels = std::countr_zero(place);  // It is not 0: last is not.
      place >>= levels;
      last >>= levels;
    } else {
      roots.head = MerkleNode(roots.head, hash);
    }
    place /= 2;
    last /= 2;
  }
  if (last != 0) return WrongLength(old, head, proof.size());
  return roots;
}

absl::Status Rewritten(const LogHead& old, const LogHead& head) {
  return absl::FailedPreconditionError(
      fmt::format("the log, of {} entries, does not begin with the {} that were seen: it is "
                  "another log, or was rewritten",
                  head.size, old.size));
}

}  // namespace

void LogSubtrees::Append(const Digest& leaf) {
  const absl::StatusOr<std::vector<Digest>> completed = CompletedSubtrees(*this, size(), leaf);
  Check(completed.ok(), "a log in memory has its subtrees");
  if (levels_.size() < completed->size()) levels_.resize(completed->size());
  for (size_t level = 0; level < completed->size(); ++level) {
    levels_[level].push_back((*completed)[level]);
  }
}

absl::StatusOr<Digest> LogSubtrees::Hash(int level, uint64_t index) const {
  const auto at = static_cast<size_t>(level);
  if (at < levels_.size() && index < levels_[at].size()) return levels_[at][index];
  return absl::DataLossError(
      fmt::format("a log of {} entries has no subtree {} of level {}", size(), index, level));
}

absl::StatusOr<std::vector<Digest>> CompletedSubtrees(const SubtreeHashes& hashes, uint64_t size,
                                                      const Digest& leaf) {
  std::vector<Digest> completed = {leaf};
  for (int level = 0; level < std::countr_one(size); ++level) {
    ASSIGN_OR_RETURN(const Digest left, hashes.Hash(level, (size >> level) - 1));
    completed.push_back(MerkleNode(left, completed.back()));
  }
  return completed;
}

absl::StatusOr<Digest> LogRoot(const SubtreeHashes& hashes, uint64_t size) {
  if (size == 0) return MerkleRoot({});
  return RootOf(hashes, {0, size});
}

absl::StatusOr<std::vector<Digest>> LogInclusionProof(const SubtreeHashes& hashes, uint64_t index,
                                                      uint64_t size) {
  Check(index < size, "a proof is for an entry of the log");
  std::vector<Digest> path;
  RETURN_IF_ERROR(AddPath(hashes, index, {0, size}, path));
  return path;
}

absl::StatusOr<std::vector<Digest>> LogConsistencyProof(const SubtreeHashes& hashes,
                                                        uint64_t old_size, uint64_t size) {
  Check(old_size <= size, "a log begins with one that is no longer");
  std::vector<Digest> proof;
  if (old_size == 0) return proof;
  RETURN_IF_ERROR(AddSubproof(hashes, old_size, {0, size}, /*is_known=*/true, proof));
  return proof;
}

absl::Status CheckLogConsistency(const LogHead& old, const LogHead& head,
                                 std::span<const Digest> proof) {
  if (head.size < old.size) {
    return absl::FailedPreconditionError(
        fmt::format("the log has {} entries, and {} were seen of it: it was rolled back, or is "
                    "another log",
                    head.size, old.size));
  }
  if (old.size == head.size && old.size != 0 && old.root != head.root) return Rewritten(old, head);
  if (old.size == 0 || old.size == head.size) {
    return proof.empty() ? absl::OkStatus() : WrongLength(old, head, proof.size());
  }
  ASSIGN_OR_RETURN(const Roots roots, Follow(old, head, proof));
  if (roots.old != old.root || roots.head != head.root) return Rewritten(old, head);
  return absl::OkStatus();
}

}  // namespace fedtune
