// SPDX-License-Identifier: Apache-2.0

// A proof that a leaf is in a tree, in canonical bytes: index, count, hashes. In
// a tree of ours, no proof is accepted but the one that we would give.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"

using fedtune::Check;
using fedtune::Digest;

namespace {

constexpr uint32_t kMostHashes = 64;
constexpr size_t kMostLeaves = 40;

std::vector<Digest> Leaves(size_t count) {
  std::vector<Digest> leaves;
  for (size_t i = 0; i < count; ++i) {
    leaves.push_back(fedtune::MerkleLeaf(std::vector<uint8_t>(i + 1, 5)));
  }
  return leaves;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fedtune::CanonicalReader reader({data, size});
  const uint32_t index = reader.U32();
  const uint32_t count = reader.U32();
  std::vector<Digest> proof(reader.Count(kMostHashes, sizeof(Digest)));
  for (Digest& hash : proof) hash = reader.ReadDigest();
  if (!reader.Finish("proof").ok()) return 0;

  fedtune::CanonicalWriter writer;
  writer.U32(index).U32(count).U32(static_cast<uint32_t>(proof.size()));
  for (const Digest& hash : proof) writer.Fixed(hash);
  Check(std::ranges::equal(writer.bytes(), std::span(data, size)), "a proof has one encoding");

  const std::vector<Digest> leaves = Leaves(std::clamp<size_t>(count, 1, kMostLeaves));
  const size_t leaf = index % leaves.size();
  const Digest root = fedtune::MerkleRoot(leaves);
  const bool is_accepted = fedtune::CheckMerkleProof(leaves[leaf], index, count, proof, root).ok();
  if (count != leaves.size()) return 0;
  const bool is_ours = index == leaf && proof == fedtune::MerkleProof(leaves, leaf);
  Check(is_accepted == is_ours, "our own proof is accepted, and no other");
  return 0;
}
