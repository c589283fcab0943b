// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/contributions/block_sums.h"

#include <vector>

#include "gtest/gtest.h"

namespace fedtune {
namespace {

constexpr size_t kBlock = BlockSums::kBlockBytes;

std::vector<std::byte> Bytes(size_t size) {
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * i);
  return bytes;
}

TEST(BlockSumsTest, KnowEachBlockAgain) {
  const std::vector<std::byte> bytes = Bytes(2 * kBlock + 7);
  const std::span<const std::byte> all(bytes);
  BlockSums sums;
  sums.Add(all);
  sums.Finish();
  ASSERT_EQ(sums.sums().size(), 3u);
  EXPECT_TRUE(sums.AreOf(0, all.first(kBlock)));
  EXPECT_TRUE(sums.AreOf(1, all.subspan(kBlock, kBlock)));
  EXPECT_TRUE(BlockSums(sums.sums()).AreOf(2, all.subspan(2 * kBlock)));
}

TEST(BlockSumsTest, AreTheSameInWhateverPiecesTheBytesCome) {
  const std::vector<std::byte> bytes = Bytes(2 * kBlock + 77);
  const std::span<const std::byte> all(bytes);
  BlockSums whole;
  whole.Add(all);
  whole.Finish();
  for (const size_t piece : {size_t{1}, size_t{31}, size_t{33}, kBlock - 1, kBlock + 32}) {
    BlockSums sums;
    for (size_t at = 0; at < all.size(); at += piece) {
      sums.Add(all.subspan(at, std::min(piece, all.size() - at)));
    }
    sums.Finish();
    EXPECT_EQ(sums.sums(), whole.sums()) << piece;
  }
}

TEST(BlockSumsTest, NoticeAnyBitThatIsAnother) {
  std::vector<std::byte> bytes = Bytes(1'037);
  BlockSums sums;
  sums.Add(bytes);
  sums.Finish();
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    const std::byte mask{static_cast<uint8_t>(1U << bit % 8)};
    bytes[bit / 8] ^= mask;
    EXPECT_FALSE(sums.AreOf(0, bytes)) << bit;
    bytes[bit / 8] ^= mask;
  }
}

// As a broken line of a memory chip does it: the signs of all values.
TEST(BlockSumsTest, NoticeTheSameBitInManyWords) {
  std::vector<std::byte> bytes = Bytes(1'024);
  BlockSums sums;
  sums.Add(bytes);
  sums.Finish();
  for (size_t i = 3; i < bytes.size(); i += 4) bytes[i] ^= std::byte{0x80};
  EXPECT_FALSE(sums.AreOf(0, bytes));
}

TEST(BlockSumsTest, NoticeABlockThatIsCutOff) {
  const std::vector<std::byte> bytes(kBlock);
  BlockSums sums;
  sums.Add(bytes);
  EXPECT_FALSE(sums.AreOf(0, std::span(bytes).first(kBlock - 32)));
  EXPECT_FALSE(sums.AreOf(1, bytes));
}

}  // namespace
}  // namespace fedtune
