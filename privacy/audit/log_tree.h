// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// A log that only grows is an RFC 6962 Merkle tree over its entries: a leaf is
// MerkleLeaf() of an entry's bytes. From the hashes of complete subtrees, which never
// change once they are there, follow the root of every size that the log has had, that an
// entry is in it, and that a later log begins with an earlier one.

// How many entries a log has, and their root.
struct LogHead {
  uint64_t size = 0;
  Digest root;

  friend bool operator==(const LogHead&, const LogHead&) = default;
};

// Where the hashes of complete subtrees are read.
class SubtreeHashes {
 public:
  virtual ~SubtreeHashes() = default;

  // Of the 2^level leaves from index * 2^level on; level 0 is a leaf's own hash.
  // Errors: what the source says; DATA_LOSS where the hash should be there and is not.
  virtual absl::StatusOr<Digest> Hash(int level, uint64_t index) const = 0;
};

// Those of a log in memory. Not thread-safe.
class LogSubtrees final : public SubtreeHashes {
 public:
  void Append(const Digest& leaf);

  uint64_t size() const { return levels_.empty() ? 0 : levels_[0].size(); }

  // DATA_LOSS: the log is shorter.
  absl::StatusOr<Digest> Hash(int level, uint64_t index) const override;

 private:
  std::vector<std::vector<Digest>> levels_;
};

// The subtrees that are complete once `leaf` follows on `size` entries, from its own
// (level 0) upwards: that of level i has index size >> i. They are what is stored when an
// entry is appended. Errors: of `hashes`, as everywhere here.
absl::StatusOr<std::vector<Digest>> CompletedSubtrees(const SubtreeHashes& hashes, uint64_t size,
                                                      const Digest& leaf);

// The root of the first `size` entries.
absl::StatusOr<Digest> LogRoot(const SubtreeHashes& hashes, uint64_t size);

// That the entry at `index` is one of the first `size`, for CheckMerkleProof().
// Requires: index < size.
absl::StatusOr<std::vector<Digest>> LogInclusionProof(const SubtreeHashes& hashes, uint64_t index,
                                                      uint64_t size);

// That the first `size` entries begin with the first `old_size` (RFC 6962 section 2.1.2).
// Empty if old_size is 0 or size. Requires: old_size <= size.
absl::StatusOr<std::vector<Digest>> LogConsistencyProof(const SubtreeHashes& hashes,
                                                        uint64_t old_size, uint64_t size);

// Whether the log of `head` begins with all of `old` (RFC 9162 section 2.1.4.2). Anything
// begins with an empty log, whose root is not looked at.
//
// FAILED_PRECONDITION: it does not: `head` is shorter, of the same size with another root,
// or longer and the proof leads elsewhere; says how long both are. INVALID_ARGUMENT: a
// proof between logs of these sizes has another number of hashes.
absl::Status CheckLogConsistency(const LogHead& old, const LogHead& head,
                                 std::span<const Digest> proof);

}  // namespace fedtune
