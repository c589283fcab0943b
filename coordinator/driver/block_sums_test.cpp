// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/block_sums.h"

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
  sums.Add(all.first(kBlock));
  sums.Add(all.subspan(kBlock));
  ASSERT_EQ(sums.sums().size(), 3u);
  EXPECT_TRUE(sums.AreOf(0, all.first(kBlock)));
  EXPECT_TRUE(sums.AreOf(1, all.subspan(kBlock, kBlock)));
  EXPECT_TRUE(BlockSums(sums.sums()).AreOf(2, all.subspan(2 * kBlock)));
}

TEST(BlockSumsTest, NoticeAnyBitThatIsAnother) {
  std::vector<std::byte> bytes = Bytes(1'037);
  BlockSums sums;
  sums.Add(bytes);
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
