// SPDX-License-Identifier: Apache-2.0

#include "privacy/audit/log_tree.h"

#include <array>
#include <bit>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/splitmix64.h"
#include "base/status.h"
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

constexpr uint64_t kMostEntries = 130;
constexpr uint64_t kLargest = std::numeric_limits<uint64_t>::max();

Digest LeafOf(uint64_t index) { return MerkleLeaf(SpanOf(absl::StrCat("entry ", index))); }

std::vector<Digest> LeavesOf(uint64_t size) {
  std::vector<Digest> leaves;
  for (uint64_t i = 0; i < size; ++i) leaves.push_back(LeafOf(i));
  return leaves;
}

// A log whose entries from `fork` on are others than those of LeafOf().
LogSubtrees LogOf(uint64_t size, uint64_t fork = kLargest) {
  LogSubtrees log;
  for (uint64_t i = 0; i < size; ++i) log.Append(i < fork ? LeafOf(i) : LeafOf(i + 1000));
  return log;
}

LogHead HeadOf(const SubtreeHashes& log, uint64_t size) {
  return {size, LogRoot(log, size).value()};
}

std::vector<LogHead> HeadsOf(const SubtreeHashes& log) {
  std::vector<LogHead> heads;
  for (uint64_t size = 0; size <= kMostEntries; ++size) heads.push_back(HeadOf(log, size));
  return heads;
}

// A log in which every entry is the same: as long as one likes. Counts what it is asked for,
// which must be complete in a log of `size`.
class EqualEntries final : public SubtreeHashes {
 public:
  explicit EqualEntries(uint64_t size) : size_(size) {
    levels_[0] = LeafOf(0);
    for (size_t i = 1; i < levels_.size(); ++i) {
      levels_[i] = MerkleNode(levels_[i - 1], levels_[i - 1]);
    }
  }

  absl::StatusOr<Digest> Hash(int level, uint64_t index) const override {
    ++asked_;
    if (level < 0 || level > 63 || index >= size_ >> level) {
      return absl::InternalError(absl::StrCat("subtree ", index, " of level ", level));
    }
    return levels_[static_cast<size_t>(level)];
  }

  int asked() const { return asked_; }

 private:
  uint64_t size_;
  std::array<Digest, 64> levels_;
  mutable int asked_ = 0;
};

// A source that has lost one of its hashes.
class LostHash final : public SubtreeHashes {
 public:
  LostHash(const LogSubtrees& log, int level, uint64_t index)
      : log_(log), level_(level), index_(index) {}

  absl::StatusOr<Digest> Hash(int level, uint64_t index) const override {
    if (level == level_ && index == index_) return absl::DataLossError("the hash is lost");
    return log_.Hash(level, index);
  }

 private:
  const LogSubtrees& log_;
  int level_;
  uint64_t index_;
};

// The proofs that come from a good one by changing a little; none is good.
std::vector<std::vector<Digest>> Altered(const std::vector<Digest>& proof) {
  std::vector<std::vector<Digest>> altered;
  for (size_t i = 0; i < proof.size(); ++i) {
    altered.push_back(proof);
    altered.back()[i].bytes[i * 7 % 32] ^= static_cast<uint8_t>(1 << (i % 8));
    altered.push_back(proof);
    altered.back().erase(altered.back().begin() + static_cast<ptrdiff_t>(i));
    altered.push_back(proof);
    altered.back().insert(altered.back().begin() + static_cast<ptrdiff_t>(i), proof[i]);
    if (i + 1 == proof.size()) continue;
    altered.push_back(proof);
    std::swap(altered.back()[i], altered.back()[i + 1]);
  }
  altered.push_back(proof);
  altered.back().push_back(Digest());
  return altered;
}

// The log of the reference tests of Certificate Transparency.
LogSubtrees ReferenceLog() {
  const std::vector<Bytes> entries = {{},
                                      {0x00},
                                      {0x10},
                                      {0x20, 0x21},
                                      {0x30, 0x31},
                                      {0x40, 0x41, 0x42, 0x43},
                                      {0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57},
                                      {0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
                                       0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f}};
  LogSubtrees log;
  for (const Bytes& entry : entries) log.Append(MerkleLeaf(entry));
  return log;
}

std::vector<std::string> Hex(const absl::StatusOr<std::vector<Digest>>& proof) {
  std::vector<std::string> hex;
  for (const Digest& hash : proof.value()) hex.push_back(hash.ToHex());
  return hex;
}

constexpr char kLeaf0[] = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
constexpr char kLeaf1[] = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
constexpr char kLeaf4[] = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
constexpr char kLeaves0To1[] = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125";
constexpr char kLeaves2To3[] = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
constexpr char kLeaves4To5[] = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
constexpr char kLeaves6To7[] = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
constexpr char kLeaves0To3[] = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7";
constexpr char kLeaves4To7[] = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";

TEST(LogTreeTest, HasTheRootsOfTheReferenceLog) {
  const LogSubtrees log = ReferenceLog();
  std::vector<std::string> roots;
  for (uint64_t size = 0; size <= 8; ++size) roots.push_back(LogRoot(log, size)->ToHex());
  EXPECT_THAT(
      roots,
      ElementsAre("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", kLeaf0,
                  kLeaves0To1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                  kLeaves0To3, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"));
}

TEST(LogTreeTest, ProvesEntriesAsTheReferenceLogDoes) {
  const LogSubtrees log = ReferenceLog();
  EXPECT_THAT(Hex(LogInclusionProof(log, 0, 1)), IsEmpty());
  EXPECT_THAT(Hex(LogInclusionProof(log, 0, 8)), ElementsAre(kLeaf1, kLeaves2To3, kLeaves4To7));
  EXPECT_THAT(Hex(LogInclusionProof(log, 5, 8)), ElementsAre(kLeaf4, kLeaves6To7, kLeaves0To3));
  EXPECT_THAT(Hex(LogInclusionProof(log, 2, 3)), ElementsAre(kLeaves0To1));
  EXPECT_THAT(Hex(LogInclusionProof(log, 1, 5)), ElementsAre(kLeaf0, kLeaves2To3, kLeaf4));
}

TEST(LogTreeTest, ProvesGrowthAsTheReferenceLogDoes) {
  const LogSubtrees log = ReferenceLog();
  EXPECT_THAT(Hex(LogConsistencyProof(log, 1, 1)), IsEmpty());
  EXPECT_THAT(Hex(LogConsistencyProof(log, 1, 8)), ElementsAre(kLeaf1, kLeaves2To3, kLeaves4To7));
  EXPECT_THAT(Hex(LogConsistencyProof(log, 6, 8)),
              ElementsAre(kLeaves4To5, kLeaves6To7, kLeaves0To3));
  EXPECT_THAT(Hex(LogConsistencyProof(log, 2, 5)), ElementsAre(kLeaves2To3, kLeaf4));
}

TEST(LogTreeTest, HasTheRootsOfTheMerkleTreeOfEverySize) {
  const LogSubtrees log = LogOf(kMostEntries);
  for (uint64_t size = 0; size <= kMostEntries; ++size) {
    EXPECT_EQ(LogRoot(log, size).value(), MerkleRoot(LeavesOf(size))) << size;
  }
}

// That the entry is proven, and by nothing that differs a little from its proof.
void ExpectProven(const SubtreeHashes& log, uint64_t index, const LogHead& head) {
  const std::vector<Digest> proof = LogInclusionProof(log, index, head.size).value();
  ASSERT_THAT(CheckMerkleProof(LeafOf(index), index, head.size, proof, head.root), IsOk());
  for (const std::vector<Digest>& altered : Altered(proof)) {
    ASSERT_THAT(CheckMerkleProof(LeafOf(index), index, head.size, altered, head.root),
                HasCode(absl::StatusCode::kInvalidArgument));
  }
}

TEST(LogTreeTest, ProvesEveryEntryOfEverySize) {
  const LogSubtrees log = LogOf(kMostEntries);
  for (const LogHead& head : HeadsOf(log)) {
    for (uint64_t index = 0; index < head.size; ++index) ExpectProven(log, index, head);
  }
}

TEST(LogTreeTest, ProvesThatEverySizeBeginsWithEveryLesserOne) {
  const LogSubtrees log = LogOf(kMostEntries);
  const std::vector<LogHead> heads = HeadsOf(log);
  for (uint64_t size = 0; size <= kMostEntries; ++size) {
    for (uint64_t old = 0; old <= size; ++old) {
      const std::vector<Digest> proof = LogConsistencyProof(log, old, size).value();
      ASSERT_THAT(CheckLogConsistency(heads[old], heads[size], proof), IsOk())
          << old << " of " << size;
    }
  }
}

void ExpectNoAlteredProof(const SubtreeHashes& log, const LogHead& old, const LogHead& head) {
  const std::vector<Digest> proof = LogConsistencyProof(log, old.size, head.size).value();
  for (const std::vector<Digest>& altered : Altered(proof)) {
    ASSERT_THAT(CheckLogConsistency(old, head, altered),
                HasCode(altered.size() == proof.size() ? absl::StatusCode::kFailedPrecondition
                                                       : absl::StatusCode::kInvalidArgument))
        << old.size << " of " << head.size;
  }
}

TEST(LogTreeTest, RefusesEveryAlteredProofOfGrowth) {
  const LogSubtrees log = LogOf(kMostEntries);
  const std::vector<LogHead> heads = HeadsOf(log);
  for (const LogHead& head : heads) {
    for (uint64_t old = 0; old <= head.size; ++old) ExpectNoAlteredProof(log, heads[old], head);
  }
}

TEST(LogTreeTest, RefusesEveryProofOfOtherRoots) {
  const LogSubtrees log = LogOf(kMostEntries);
  const std::vector<LogHead> heads = HeadsOf(log);
  const auto refused = HasCode(absl::StatusCode::kFailedPrecondition);
  for (uint64_t size = 1; size <= kMostEntries; ++size) {
    for (uint64_t old = 1; old <= size; ++old) {
      const std::vector<Digest> proof = LogConsistencyProof(log, old, size).value();
      ASSERT_THAT(CheckLogConsistency({old, heads[old - 1].root}, heads[size], proof), refused);
      ASSERT_THAT(CheckLogConsistency(heads[old], {size, heads[size - 1].root}, proof), refused);
    }
  }
}

TEST(LogTreeTest, RefusesEveryProofOfAnotherNumberOfHashes) {
  const LogSubtrees log = LogOf(40);
  const std::vector<Digest> proof = LogConsistencyProof(log, 13, 29).value();
  for (uint64_t size = 14; size <= 40; ++size) {
    if (LogConsistencyProof(log, 13, size)->size() == proof.size()) continue;
    EXPECT_THAT(CheckLogConsistency(HeadOf(log, 13), HeadOf(log, size), proof),
                HasCode(absl::StatusCode::kInvalidArgument))
        << size;
  }
}

TEST(LogTreeTest, ALogThatWasRolledBackIsFound) {
  const LogSubtrees log = LogOf(kMostEntries);
  for (uint64_t old = 1; old <= kMostEntries; ++old) {
    for (uint64_t size = 0; size < old; ++size) {
      ASSERT_THAT(CheckLogConsistency(HeadOf(log, old), HeadOf(log, size), {}),
                  HasCode(absl::StatusCode::kFailedPrecondition));
    }
  }
}

TEST(LogTreeTest, ALogThatWasRewrittenIsFound) {
  constexpr uint64_t kSize = 33;
  const LogSubtrees log = LogOf(kSize);
  for (uint64_t fork = 0; fork < kSize; ++fork) {
    const LogSubtrees rewritten = LogOf(kSize, fork);
    for (uint64_t old = 0; old <= kSize; ++old) {
      const absl::Status checked = CheckLogConsistency(HeadOf(log, old), HeadOf(rewritten, kSize),
                                                       *LogConsistencyProof(rewritten, old, kSize));
      ASSERT_THAT(checked, HasCode(old <= fork ? absl::StatusCode::kOk
                                               : absl::StatusCode::kFailedPrecondition))
          << old << " seen, other entries from " << fork;
    }
  }
}

TEST(LogTreeTest, RefusalsSayHowLongBothLogsAre) {
  const LogSubtrees log = LogOf(12);
  const LogSubtrees rewritten = LogOf(12, 5);
  const auto says_both = AllOf(HasSubstr("12"), HasSubstr("7"));
  EXPECT_THAT(Message(CheckLogConsistency(HeadOf(log, 12), HeadOf(log, 7), {})), says_both);
  EXPECT_THAT(Message(CheckLogConsistency(HeadOf(log, 7), HeadOf(rewritten, 12),
                                          *LogConsistencyProof(rewritten, 7, 12))),
              says_both);
  EXPECT_THAT(Message(CheckLogConsistency(HeadOf(log, 7), HeadOf(log, 12), {})), says_both);
}

TEST(LogTreeTest, AnythingBeginsWithAnEmptyLog) {
  const LogHead head = HeadOf(LogOf(12), 12);
  EXPECT_THAT(CheckLogConsistency({}, head, {}), IsOk());
  EXPECT_THAT(CheckLogConsistency({}, HeadOf(LogSubtrees(), 0), {}), IsOk());
  EXPECT_THAT(CheckLogConsistency({}, head, std::vector<Digest>{head.root}),
              HasCode(absl::StatusCode::kInvalidArgument));
}

// Sizes of which some power of two is near, and others.
std::vector<uint64_t> LargeSizes() {
  std::vector<uint64_t> sizes = {kLargest, kLargest - 1, kLargest - 2, kLargest / 2 + 2};
  for (const int bits : {31, 32, 33, 62, 63}) {
    for (const uint64_t beside : {-1, 0, 1}) sizes.push_back((uint64_t{1} << bits) + beside);
  }
  SplitMix64 random(3);
  for (int i = 0; i < 20; ++i) sizes.push_back(random.Next() >> (i * 2));
  return sizes;
}

TEST(LogTreeTest, ProvesWhatIsInLogsOfAnySizeFromFewHashes) {
  for (const uint64_t size : LargeSizes()) {
    for (const uint64_t index : {uint64_t{0}, size / 3, size / 2, size - 2, size - 1}) {
      const EqualEntries log(size);
      const absl::StatusOr<std::vector<Digest>> proof = LogInclusionProof(log, index, size);
      ASSERT_THAT(proof, IsOk()) << proof.status();
      EXPECT_LE(log.asked(), 2 * std::bit_width(size));
      EXPECT_THAT(CheckMerkleProof(LeafOf(0), index, size, *proof, LogRoot(log, size).value()),
                  IsOk());
    }
  }
}

TEST(LogTreeTest, ProvesGrowthOfLogsOfAnySizeFromFewHashes) {
  for (const uint64_t size : LargeSizes()) {
    for (const uint64_t old : LargeSizes()) {
      if (old > size) continue;
      const EqualEntries log(size);
      const absl::StatusOr<std::vector<Digest>> proof = LogConsistencyProof(log, old, size);
      ASSERT_THAT(proof, IsOk()) << proof.status();
      EXPECT_LE(log.asked(), 2 * std::bit_width(size));
      ASSERT_THAT(CheckLogConsistency(HeadOf(log, old), HeadOf(log, size), *proof), IsOk());
    }
  }
}

TEST(LogTreeTest, AHostileProofCostsNoMoreThanItsSizesDo) {
  const std::vector<Digest> endless(1 << 20);
  EXPECT_THAT(CheckLogConsistency({3, Digest()}, {kLargest, Digest()}, endless),
              HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(CheckLogConsistency({kLargest - 1, Digest()}, {kLargest, Digest()}, endless),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(LogTreeTest, AppendingStoresTheSubtreesThatAreComplete) {
  const LogSubtrees log = LogOf(kMostEntries);
  for (uint64_t size = 0; size < kMostEntries; ++size) {
    const std::vector<Digest> completed = CompletedSubtrees(log, size, LeafOf(size)).value();
    ASSERT_THAT(completed, SizeIs(std::countr_zero(size + 1) + 1));
    for (size_t level = 0; level < completed.size(); ++level) {
      EXPECT_EQ(completed[level], log.Hash(static_cast<int>(level), size >> level).value());
    }
  }
}

TEST(LogTreeTest, AppendsToTheLongestLog) {
  const EqualEntries log(kLargest);
  EXPECT_THAT(CompletedSubtrees(log, kLargest - 1, LeafOf(0)).value(), SizeIs(1));
  EXPECT_THAT(CompletedSubtrees(log, kLargest, LeafOf(0)).value(), SizeIs(65));
}

TEST(LogTreeTest, SaysWhatItsSourceSays) {
  const LogSubtrees log = LogOf(12);
  const auto says_so = HasCode(absl::StatusCode::kDataLoss);
  EXPECT_THAT(LogRoot(LostHash(log, 3, 0), 11), says_so);
  EXPECT_THAT(LogInclusionProof(LostHash(log, 2, 1), 1, 11), says_so);
  EXPECT_THAT(LogConsistencyProof(LostHash(log, 2, 1), 4, 11), says_so);
  EXPECT_THAT(CompletedSubtrees(LostHash(log, 1, 4), 11, LeafOf(11)), says_so);
  EXPECT_THAT(log.Hash(2, 3), says_so);
  EXPECT_THAT(log.Hash(9, 0), says_so);
}

}  // namespace
}  // namespace fedtune
