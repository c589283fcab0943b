// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_tree.h"

#include <bit>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "privacy/crypto/merkle_tree.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::SizeIs;

constexpr uint64_t kLongest = 130;

Digest LeafOf(uint64_t index) { return MerkleLeaf(SpanOf(absl::StrCat("entry ", index))); }

std::vector<Digest> LeavesOf(uint64_t size) {
  std::vector<Digest> leaves;
  for (uint64_t i = 0; i < size; ++i) leaves.push_back(LeafOf(i));
  return leaves;
}

// A log whose entries from `fork` on are others than those of LeafOf().
LogSubtrees LogOf(uint64_t size, uint64_t fork = ~uint64_t{0}) {
  LogSubtrees log;
  for (uint64_t i = 0; i < size; ++i) log.Append(i < fork ? LeafOf(i) : LeafOf(i + 1000));
  return log;
}

LogHead HeadOf(const SubtreeHashes& log, uint64_t size) {
  return {size, LogRoot(log, size).value()};
}

// Says how often it was asked, and that nothing but complete subtrees was asked for.
class CountedHashes final : public SubtreeHashes {
 public:
  explicit CountedHashes(uint64_t size) : size_(size) {}

  absl::StatusOr<Digest> Hash(int level, uint64_t index) const override {
    ++asked_;
    EXPECT_LT(level, 64);
    EXPECT_LE(index, (size_ >> level) - 1);
    return Sha256Of(absl::StrCat(level, " ", index));
  }

  int asked() const { return asked_; }

 private:
  uint64_t size_;
  mutable int asked_ = 0;
};

TEST(LogTreeTest, HasTheRootsOfTheMerkleTreeOfEverySize) {
  const LogSubtrees log = LogOf(kLongest);
  for (uint64_t size = 0; size <= kLongest; ++size) {
    EXPECT_EQ(LogRoot(log, size).value(), MerkleRoot(LeavesOf(size))) << size;
  }
}

TEST(LogTreeTest, ProvesEveryEntryOfEverySize) {
  const LogSubtrees log = LogOf(kLongest);
  for (uint64_t size = 1; size <= kLongest; ++size) {
    const Digest root = LogRoot(log, size).value();
    for (uint64_t index = 0; index < size; ++index) {
      const std::vector<Digest> proof = LogInclusionProof(log, index, size).value();
      ASSERT_THAT(CheckMerkleProof(LeafOf(index), index, size, proof, root), IsOk());
    }
  }
}

TEST(LogTreeTest, ProvesThatEverySizeBeginsWithEveryLesserOne) {
  const LogSubtrees log = LogOf(kLongest);
  for (uint64_t size = 0; size <= kLongest; ++size) {
    for (uint64_t old = 0; old <= size; ++old) {
      const std::vector<Digest> proof = LogConsistencyProof(log, old, size).value();
      ASSERT_THAT(CheckLogConsistency(HeadOf(log, old), HeadOf(log, size), proof), IsOk())
          << old << " of " << size;
    }
  }
}

}  // namespace
}  // namespace fedtune
