// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/characters.h"

#include <string>

#include "gtest/gtest.h"
#include "model/tokenizer/regex.h"
#include "model/tokenizer/utf8.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

TEST(CharactersTest, EachHasItsKind) {
  EXPECT_EQ(KindOf('a'), CharacterKind::kLetter);
  EXPECT_EQ(KindOf(0x0301), CharacterKind::kMark);
  EXPECT_EQ(KindOf(0x2167), CharacterKind::kNumber);  // Ⅷ
  EXPECT_EQ(KindOf('_'), CharacterKind::kPunctuation);
  EXPECT_EQ(KindOf('$'), CharacterKind::kSymbol);
  EXPECT_EQ(KindOf('\n'), CharacterKind::kSpace);
  EXPECT_EQ(KindOf(0x0085), CharacterKind::kSpace);
  EXPECT_EQ(KindOf(0x200B), CharacterKind::kOther);
  EXPECT_EQ(KindOf(0x10FFFF), CharacterKind::kOther);
}

TEST(CharactersTest, ThoseOfUnicode15And16AreKnown) {
  EXPECT_EQ(KindOf(0x1E4D0), CharacterKind::kLetter);       // Nag Mundari
  EXPECT_EQ(KindOf(0x32000), CharacterKind::kLetter);       // CJK extension H
  EXPECT_EQ(KindOf(0x10D40), CharacterKind::kNumber);       // Garay digit zero
  EXPECT_EQ(KindOf(0x1FA77), CharacterKind::kSymbol);       // Light blue heart
  EXPECT_EQ(KindOf(0x11F43), CharacterKind::kPunctuation);  // Kawi danda
}

TEST(CharactersTest, WordsHaveLettersMarksDigitsConnectorsAndJoiners) {
  for (const uint32_t one : {0x61u, 0x0301u, 0x0661u, 0x5Fu, 0x200Du, 0x24B6u, 0x1E4D0u}) {
    EXPECT_TRUE(IsWordCharacter(one)) << one;
  }
  for (const uint32_t one : {0x20u, 0x2Du, 0xBDu, 0x200Bu, 0x1FA77u}) {
    EXPECT_FALSE(IsWordCharacter(one)) << one;
  }
}

// Of every code point, so that the table and the expressions cannot differ.
TEST(CharactersTest, ExpressionsMeanTheSame) {
  const std::pair<const char*, CharacterKind> expressions[] = {
      {R"(\p{L})", CharacterKind::kLetter},
      {R"(\p{M})", CharacterKind::kMark},
      {R"(\p{N})", CharacterKind::kNumber},
      {R"(\p{P})", CharacterKind::kPunctuation},
      {R"(\p{S})", CharacterKind::kSymbol},
      {R"(\s)", CharacterKind::kSpace},
      {R"([^\p{L}\p{M}\p{N}\p{P}\p{S}\s])", CharacterKind::kOther}};
  std::string all;
  for (uint32_t code_point = 0; code_point < 0x110000; ++code_point) {
    if (code_point < 0xD800 || code_point > 0xDFFF) all += EncodeUtf8(code_point);
  }
  size_t found = 0;
  for (const auto& [expression, kind] : expressions) {
    const auto regex = Regex::Compile(expression);
    ASSERT_THAT(regex, testing::IsOk());
    std::vector<ByteRange> matches;
    ASSERT_THAT(RegexSearch(*regex).FindAll(all, matches), testing::IsOk());
    for (const ByteRange& match : matches) {
      const uint32_t code_point = FirstCodePoint(std::string_view(all).substr(match.begin)).value;
      ASSERT_EQ(KindOf(code_point), kind) << expression << " " << code_point;
    }
    found += matches.size();
  }
  EXPECT_EQ(found, 0x110000u - 0x800u);
}

}  // namespace
}  // namespace fedtune
