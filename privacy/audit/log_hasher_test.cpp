// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_hasher.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/merkle_tree.h"

namespace fedtune {
namespace {

std::string Entry(int number) { return "entry " + std::to_string(number); }

Digest Leaf(const std::string& entry) { return MerkleLeaf(SpanOf(entry)); }

TEST(LogHasherTest, HasTheHeadOfEverySizeThatTheLogHasHad) {
  LogHasher hasher;
  std::vector<Digest> leaves;
  for (int number = 0; number < 300; ++number) {
    const LogHead expected = {.size = leaves.size(), .root = MerkleRoot(leaves)};
    ASSERT_EQ(hasher.size(), leaves.size());
    ASSERT_EQ(hasher.head(), expected) << number;
    hasher.Add(Entry(number));
    leaves.push_back(Leaf(Entry(number)));
  }
}

TEST(LogHasherTest, ACopyGoesOnByItself) {
  LogHasher hasher;
  for (int number = 0; number < 5; ++number) hasher.Add(Entry(number));
  const LogHead head = hasher.head();
  LogHasher copy = hasher;
  copy.Add(Entry(5));
  EXPECT_EQ(hasher.head(), head);
  hasher.Add(Entry(5));
  EXPECT_EQ(hasher.head(), copy.head());
  hasher.Add(Entry(6));
  copy.Add(Entry(7));
  EXPECT_NE(hasher.head(), copy.head());
}

TEST(LogHasherTest, GoesOnFromWhatWasStoredOfAnotherOne) {
  LogHasher hasher;
  for (int number = 0; number < 100; ++number) {
    const auto restored = LogHasher::GoOnFrom(hasher.size(), hasher.complete());
    ASSERT_TRUE(restored.ok());
    LogHasher next = *restored;
    next.AddLeaf(Leaf(Entry(number)));
    hasher.Add(Entry(number));
    ASSERT_EQ(next.head(), hasher.head()) << number;
  }
}

TEST(LogHasherTest, GoesOnFromNoOtherNumberOfHashes) {
  EXPECT_FALSE(LogHasher::GoOnFrom(0, {Digest()}).ok());
  EXPECT_FALSE(LogHasher::GoOnFrom(3, {Digest()}).ok());
  EXPECT_FALSE(LogHasher::GoOnFrom(4, {Digest(), Digest()}).ok());
}

TEST(LogHasherTest, AnEmptyEntryIsOne) {
  LogHasher hasher;
  hasher.Add("");
  EXPECT_EQ(hasher.head().size, 1u);
  EXPECT_EQ(hasher.head().root, Leaf(""));
}

}  // namespace
}  // namespace fedtune
