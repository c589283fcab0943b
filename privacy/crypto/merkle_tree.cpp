// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/merkle_tree.h"

#include <bit>

#include "base/check.h"

namespace fedtune {
namespace {

// The largest power of two below `count`, which is at least 2.
size_t LeftPart(size_t count) { return std::bit_floor(count - 1); }

// Completes the proofs of these leaves up to their root, and gives the root.
Digest Prove(std::span<const Digest> leaves, std::span<std::vector<Digest>> proofs) {
  if (leaves.size() == 1) return leaves[0];
  const size_t left = LeftPart(leaves.size());
  const Digest left_root = Prove(leaves.first(left), proofs.first(left));
  const Digest right_root = Prove(leaves.subspan(left), proofs.subspan(left));
  for (std::vector<Digest>& proof : proofs.first(left)) proof.push_back(right_root);
  for (std::vector<Digest>& proof : proofs.subspan(left)) proof.push_back(left_root);
  return MerkleNode(left_root, right_root);
}

}  // namespace

Digest MerkleLeaf(ByteSpan bytes) {
  constexpr uint8_t kLeaf = 0;
  Sha256 hash;
  hash.Update(std::as_bytes(std::span(&kLeaf, 1)));
  hash.Update(std::as_bytes(bytes));
  return std::move(hash).Finish();
}

Digest MerkleNode(const Digest& left, const Digest& right) {
  constexpr uint8_t kNode = 1;
  Sha256 hash;
  hash.Update(std::as_bytes(std::span(&kNode, 1)));
  hash.Update(std::as_bytes(std::span(left.bytes)));
  hash.Update(std::as_bytes(std::span(right.bytes)));
  return std::move(hash).Finish();
}

Digest MerkleRoot(std::span<const Digest> leaves) {
  if (leaves.empty()) return Sha256Of(ByteSpan());
  if (leaves.size() == 1) return leaves[0];
  const size_t left = LeftPart(leaves.size());
  return MerkleNode(MerkleRoot(leaves.first(left)), MerkleRoot(leaves.subspan(left)));
}

std::vector<Digest> MerkleProof(std::span<const Digest> leaves, size_t index) {
  Check(index < leaves.size(), "a Merkle proof is for a leaf of the tree");
  if (leaves.size() == 1) return {};
  const size_t left = LeftPart(leaves.size());
  std::vector<Digest> proof;
  if (index < left) {
    proof = MerkleProof(leaves.first(left), index);
    proof.push_back(MerkleRoot(leaves.subspan(left)));
  } else {
    proof = MerkleProof(leaves.subspan(left), index - left);
    proof.push_back(MerkleRoot(leaves.first(left)));
  }
  return proof;
}

std::vector<std::vector<Digest>> MerkleProofs(std::span<const Digest> leaves) {
  std::vector<std::vector<Digest>> proofs(leaves.size());
  if (!leaves.empty()) Prove(leaves, proofs);
  return proofs;
}

absl::Status CheckMerkleProof(const Digest& leaf, size_t index, size_t count,
                              std::span<const Digest> proof, const Digest& root) {
  if (index >= count) return absl::InvalidArgumentError("the leaf is not in the Merkle tree");
  // Upwards, as RFC 9162 section 2.1.3.2.
  size_t last = count - 1;
  Digest hash = leaf;
  for (const Digest& sibling : proof) {
    if (last == 0) return absl::InvalidArgumentError("the Merkle proof is too long");
    if (index % 2 == 1 || index == last) {
      hash = MerkleNode(sibling, hash);
      const int levels = std::countr_zero(index);  // It is not 0: last is not.
      index >>= levels;
      last >>= levels;
    } else {
      hash = MerkleNode(hash, sibling);
    }
    index /= 2;
    last /= 2;
  }
  if (last != 0 || hash != root) {
    return absl::InvalidArgumentError("the Merkle proof leads to another root");
  }
  return absl::OkStatus();
}

}  // namespace fedtune
