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

// Of two subtrees beside each other, as RFC 6962 section 2.1 has it.
Digest LogNode(const Digest& left, const Digest& right);

// The root of the first `size` entries. Errors: of `hashes`, as everywhere here.
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
// begins with an empty log.
// INVALID_ARGUMENT: the proof is none. FAILED_PRECONDITION: it does not: `head` is shorter,
// or of the same size and has another root.
absl::Status CheckLogConsistency(const LogHead& old, const LogHead& head,
                                 std::span<const Digest> proof);

}  // namespace fedtune
