// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {

// The hash of one leaf of an RFC 6962 Merkle tree, SHA-256(0x00, bytes).
Digest MerkleLeaf(ByteSpan bytes);

// The hash of two subtrees beside each other, SHA-256(0x01, left, right).
Digest MerkleNode(const Digest& left, const Digest& right);

// The root over leaf hashes in their order, RFC 6962 section 2.1.
Digest MerkleRoot(std::span<const Digest> leaves);

// The hashes from which, with leaf `index`, the root follows (section 2.1.1).
// Requires: index < leaves.size().
std::vector<Digest> MerkleProof(std::span<const Digest> leaves, size_t index);

// Those of all leaves, in their order, at little more than the cost of the root.
std::vector<std::vector<Digest>> MerkleProofs(std::span<const Digest> leaves);

// Whether `leaf` is the one at `index` of the `count` leaves below `root`.
// INVALID_ARGUMENT: it is not, or the proof is none.
absl::Status CheckMerkleProof(const Digest& leaf, size_t index, size_t count,
                              std::span<const Digest> proof, const Digest& root);

}  // namespace fedtune
