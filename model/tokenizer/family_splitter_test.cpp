// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/family_splitter.h"

#include <random>
#include <string>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/splitter.h"
#include "model/tokenizer/utf8.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  SplitAsFamily(text, words);
  return words;
}

// The expressions themselves.
class Expressions {
 public:
  Expressions() {
    for (const std::string_view expression : kFamilyExpressions) {
      splitters_.emplace_back(Regex::Compile(expression).value(), Splitter::Options{});
    }
  }

  std::vector<std::string_view> Words(std::string_view text) const {
    std::vector<std::string_view> words;
    if (!text.empty()) words.push_back(text);
    for (const Splitter& splitter : splitters_) {
      EXPECT_THAT(splitter.Apply(words), testing::IsOk());
    }
    return words;
  }

 private:
  std::vector<Splitter> splitters_;
};

TEST(FamilySplitterTest, CutsAsTheExpressionsSay) {
  EXPECT_THAT(Words("Heart failure, 12345 days"),
              ElementsAre("Heart", " failure", ",", " ", "123", "45", " days"));
  EXPECT_THAT(Words("a.b  c?!\n\nd \n e"),
              ElementsAre("a", ".b", " ", " c", "?!\n\n", "d", " \n", " e"));
  EXPECT_THAT(Words("中文English"), ElementsAre("中文", "English"));
  EXPECT_THAT(Words(""), ElementsAre());
}

// Characters by each of which some way to match begins, ends or fails.
constexpr uint32_t kTelling[] = {
    ' ',    ' ',    '\n',   '\r',   '\t',   'a',    'Z',     '7',     '.',     '$',     '_',
    '\0',   0x7F,   0x85,   0xA0,   0xBD,   0xE9,   0x301,   0x661,   0x200B,  0x200D,  0x2028,
    0x3000, 0x3040, 0x3042, 0x3098, 0x309B, 0x30A0, 0x30FB,  0x30FC,  0x3100,  0x4E00,  0x9FA5,
    0x9FA6, 0xFF0C, 0xE000, 0xFFFE, 0x17B4, 0x1734, 0x1F600, 0x1E4D0, 0x1FA77, 0x10FFFF};

TEST(FamilySplitterTest, AgreesWithTheExpressionsOnTextsOfTellingCharacters) {
  const Expressions expressions;
  std::mt19937 random(20);
  for (int trial = 0; trial < 20'000; ++trial) {
    std::string text;
    for (size_t i = random() % 12; i > 0; --i)
      text += EncodeUtf8(kTelling[random() % std::size(kTelling)]);
    ASSERT_EQ(Words(text), expressions.Words(text)) << text;
  }
}

TEST(FamilySplitterTest, AgreesWithTheExpressionsOnEveryCodePoint) {
  const Expressions expressions;
  std::string text;
  for (uint32_t code_point = 0; code_point < 0x110000; ++code_point) {
    if (code_point >= 0xD800 && code_point <= 0xDFFF) continue;
    const std::string one = EncodeUtf8(code_point);
    text += fmt::format("{0}a {0}{0} {0}\n.{0}", one);
    if (code_point % 0x1000 != 0xFFF) continue;
    ASSERT_EQ(Words(text), expressions.Words(text)) << "up to " << code_point;
    text.clear();
  }
}

}  // namespace
}  // namespace fedtune
