// SPDX-License-Identifier: Apache-2.0

#include "privacy/crypto/merkle_tree.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using testing::IsOk;

// The inputs of the tree in RFC 6962's reference tests.
const std::vector<Bytes> kInputs = {{},
                                    {0x00},
                                    {0x10},
                                    {0x20, 0x21},
                                    {0x30, 0x31},
                                    {0x40, 0x41, 0x42, 0x43},
                                    {0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57},
                                    {0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
                                     0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f}};

std::vector<Digest> Leaves(size_t count) {
  std::vector<Digest> leaves;
  for (size_t i = 0; i < count; ++i) leaves.push_back(MerkleLeaf(kInputs[i % kInputs.size()]));
  return leaves;
}

TEST(MerkleTreeTest, HasTheRootsOfTheReferenceTree) {
  EXPECT_EQ(MerkleRoot({}).ToHex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(MerkleRoot(Leaves(1)).ToHex(),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
  EXPECT_EQ(MerkleRoot(Leaves(3)).ToHex(),
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77");
  EXPECT_EQ(MerkleRoot(Leaves(8)).ToHex(),
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

TEST(MerkleTreeTest, ProvesEveryLeafOfEverySize) {
  for (size_t count = 1; count <= 40; ++count) {
    const std::vector<Digest> leaves = Leaves(count);
    const Digest root = MerkleRoot(leaves);
    for (size_t index = 0; index < count; ++index) {
      EXPECT_THAT(CheckMerkleProof(leaves[index], index, count, MerkleProof(leaves, index), root),
                  IsOk());
    }
  }
}

TEST(MerkleTreeTest, RefusesAnotherLeafPlaceSizeOrProof) {
  const std::vector<Digest> leaves = Leaves(7);
  const Digest root = MerkleRoot(leaves);
  const std::vector<Digest> proof = MerkleProof(leaves, 4);
  const auto refused = HasCode(absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(CheckMerkleProof(leaves[3], 4, 7, proof, root), refused);
  EXPECT_THAT(CheckMerkleProof(leaves[4], 3, 7, proof, root), refused);
  EXPECT_THAT(CheckMerkleProof(leaves[4], 7, 7, proof, root), refused);
  EXPECT_THAT(CheckMerkleProof(leaves[4], 4, 4, proof, root), refused);
  std::vector<Digest> longer = proof;
  longer.push_back(root);
  EXPECT_THAT(CheckMerkleProof(leaves[4], 4, 7, longer, root), refused);
  EXPECT_THAT(CheckMerkleProof(leaves[4], 4, 7, std::span(proof).first(proof.size() - 1), root),
              refused);
}

TEST(MerkleTreeTest, AllProofsAreThoseOfEachLeaf) {
  std::vector<Digest> leaves;
  EXPECT_TRUE(MerkleProofs(leaves).empty());
  while (leaves.size() < 20) {
    leaves.push_back(MerkleLeaf(Bytes(leaves.size(), 1)));
    const std::vector<std::vector<Digest>> proofs = MerkleProofs(leaves);
    ASSERT_EQ(proofs.size(), leaves.size());
    for (size_t i = 0; i < leaves.size(); ++i) EXPECT_EQ(proofs[i], MerkleProof(leaves, i));
  }
}

}  // namespace
}  // namespace fedtune
