// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/utf8.h"

#include "gtest/gtest.h"

namespace fedtune {
namespace {

TEST(Utf8Test, AcceptsEveryCodePointAndReadsItBackFromBothEnds) {
  for (uint32_t value = 0; value <= 0x10FFFF; ++value) {
    if (value >= 0xD800 && value <= 0xDFFF) continue;
    const std::string text = EncodeUtf8(value);
    ASSERT_EQ(FindInvalidUtf8(text), std::nullopt) << value;
    ASSERT_EQ(FirstCodePoint(text + "x").value, value);
    ASSERT_EQ(LastCodePoint("x" + text).value, value);
    ASSERT_EQ(LastCodePoint("x" + text).length, text.size());
  }
}

TEST(Utf8Test, RefusesALoneContinuationByte) { EXPECT_EQ(FindInvalidUtf8("ab\x80"), 2u); }

TEST(Utf8Test, RefusesAnOverlongForm) {
  EXPECT_EQ(FindInvalidUtf8("\xC0\xAF"), 0u);
  EXPECT_EQ(FindInvalidUtf8("\xE0\x9F\xBF"), 0u);
  EXPECT_EQ(FindInvalidUtf8("\xF0\x8F\xBF\xBF"), 0u);
}

TEST(Utf8Test, RefusesASurrogate) { EXPECT_EQ(FindInvalidUtf8("\xED\xA0\x80"), 0u); }

TEST(Utf8Test, RefusesACodePointAboveTheLast) {
  EXPECT_EQ(FindInvalidUtf8("\xF4\x90\x80\x80"), 0u);
  EXPECT_EQ(FindInvalidUtf8("\xF5\x80\x80\x80"), 0u);
}

TEST(Utf8Test, RefusesACharacterThatIsCutShort) {
  EXPECT_EQ(FindInvalidUtf8("0123456789\xE2\x82"), 10u);
  EXPECT_EQ(FindInvalidUtf8("\xE2\x82 "), 0u);
}

TEST(Utf8Test, ReplacesEachLongestBeginningOfACharacterOnce) {
  // The example of the Unicode standard, section 3.9, table 3-8.
  EXPECT_EQ(ReplaceInvalidUtf8("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
}

TEST(Utf8Test, LeavesWellFormedTextAsItIs) {
  EXPECT_EQ(ReplaceInvalidUtf8("na\u00EFve \u4E2D \U0001F600"), "na\u00EFve \u4E2D \U0001F600");
}

}  // namespace
}  // namespace fedtune
