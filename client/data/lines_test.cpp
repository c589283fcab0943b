// SPDX-License-Identifier: Apache-2.0

#include "client/data/lines.h"

#include <vector>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Split(const std::vector<std::string_view>& blocks) {
  std::vector<std::string> lines;
  LineSplitter splitter(
      [&](const Line& line) { lines.push_back(fmt::format("{}:{}", line.number, line.text)); });
  for (const std::string_view block : blocks) splitter.Feed(block);
  splitter.Finish();
  return lines;
}

TEST(LineSplitterTest, NumbersLinesFromOne) {
  EXPECT_THAT(Split({"a\nb\n"}), ElementsAre("1:a", "2:b"));
}

TEST(LineSplitterTest, JoinsLinesAcrossBlocks) {
  EXPECT_THAT(Split({"a", "b\nc", "", "d", "\n"}), ElementsAre("1:ab", "2:cd"));
}

TEST(LineSplitterTest, GivesTheLastLineWithoutItsEnd) {
  EXPECT_THAT(Split({"a\nb"}), ElementsAre("1:a", "2:b"));
}

TEST(LineSplitterTest, GivesEmptyLines) {
  EXPECT_THAT(Split({"\n\na"}), ElementsAre("1:", "2:", "3:a"));
  EXPECT_THAT(Split({""}), ElementsAre());
}

TEST(LineSplitterTest, CutsOffAndMarksALineThatIsTooLong) {
  std::vector<Line> lines;
  size_t kept = 0;
  LineSplitter splitter([&](const Line& line) {
    lines.push_back(line);
    kept = std::max(kept, line.text.size());
  });
  const std::string block(1'000'000, 'x');
  for (int i = 0; i < 16; ++i) splitter.Feed(block);
  splitter.Feed("\n");
  for (int i = 0; i < 17; ++i) splitter.Feed(block);
  splitter.Feed("\nb\n");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_FALSE(lines[0].too_long);
  EXPECT_TRUE(lines[1].too_long);
  EXPECT_FALSE(lines[2].too_long);
  EXPECT_EQ(kept, LineSplitter::kMaxLineBytes);
}

}  // namespace
}  // namespace fedtune
