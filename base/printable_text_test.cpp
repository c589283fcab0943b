// SPDX-License-Identifier: Apache-2.0

#include "base/printable_text.h"

#include <gtest/gtest.h>

#include <string>

namespace fedtune {
namespace {

using std::string_literals::operator""s;

TEST(PrintableTextTest, OrdinaryTextStaysAsItIs) {
  for (const char* text : {"", "out of memory", "Universitätsklinikum", "東京病院",
                           "100 % \\n \"x\"", "🏥 \u00a0 \u00ff"}) {
    EXPECT_EQ(PrintableText(text), text);
    EXPECT_EQ(PrintableLines(text), text);
  }
}

TEST(PrintableTextTest, EscapeSequencesDoNotReachATerminal) {
  EXPECT_EQ(PrintableText("\x1b[2J\x1b]0;title\x07"), "\\x1b[2J\\x1b]0;title\\x07");
  EXPECT_EQ(PrintableText("a\bb\x7f"), "a\\x08b\\x7f");
  EXPECT_EQ(PrintableText("null\0byte"s), "null\\x00byte");
  EXPECT_EQ(PrintableText("csi \u009b31m"), "csi \\u009b31m");
}

TEST(PrintableTextTest, NoLineIsForged) {
  const std::string text = "no\nerror: all is well\r\tok\u2028x\u2029y";
  EXPECT_EQ(PrintableText(text), "no\\nerror: all is well\\r\\tok\\u2028x\\u2029y");
  EXPECT_EQ(PrintableLines(text), "no\nerror: all is well\\r\\tok\\u2028x\\u2029y");
}

TEST(PrintableTextTest, TheWritingDirectionStays) {
  EXPECT_EQ(PrintableText("a\u202eb\u2066c\u200fd\ufeff"), "a\\u202eb\\u2066c\\u200fd\\ufeff");
}

TEST(PrintableTextTest, BytesThatAreNotUtf8AreShown) {
  EXPECT_EQ(PrintableText("\x9b\x80"), "\\x9b\\x80");  // Alone.
  EXPECT_EQ(PrintableText("\xc3"), "\\xc3");           // Cut off.
  EXPECT_EQ(PrintableText("\xc0\x9b"), "\\xc0\\x9b");  // Longer than needed.
  EXPECT_EQ(PrintableText("\xe0\x80\x9b"), "\\xe0\\x80\\x9b");
  EXPECT_EQ(PrintableText("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // A surrogate.
  EXPECT_EQ(PrintableText("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(PrintableText("\xc3\x28ok"), "\\xc3(ok");
}

TEST(PrintableTextTest, ALimitHoldsForWhatIsShown) {
  EXPECT_EQ(PrintableText("abc", 3), "abc");
  EXPECT_EQ(PrintableText("abcd", 3), "abc");
  EXPECT_EQ(PrintableText("ab\x1b", 5), "ab");
  EXPECT_EQ(PrintableText("ab\x1b", 6), "ab\\x1b");
  EXPECT_EQ(PrintableText("aäb", 2), "a");
  EXPECT_EQ(PrintableText("a", 0), "");
}

}  // namespace
}  // namespace fedtune
