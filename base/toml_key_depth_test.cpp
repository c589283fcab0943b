// SPDX-License-Identifier: Apache-2.0

#include "base/toml_key_depth.h"

#include <string>

#include "gtest/gtest.h"

namespace fedtune {
namespace {

constexpr int kMost = 3;

TEST(LineOfDeeperKeyTest, FindsKeysHeadersAndInlineTables) {
  EXPECT_EQ(LineOfDeeperKey("a = 1\nb.c.d.e = 2\n", kMost), 2);
  EXPECT_EQ(LineOfDeeperKey("[a . b . c . d]\n", kMost), 1);
  EXPECT_EQ(LineOfDeeperKey("[[a.b.c.d]]\n", kMost), 1);
  EXPECT_EQ(LineOfDeeperKey("\n\na = {b = 1, c.d.e.f = 2}\n", kMost), 3);
  EXPECT_EQ(LineOfDeeperKey("a.\"b\".'c'.d = 1\n", kMost), 1);
}

TEST(LineOfDeeperKeyTest, LetsShorterKeysPass) {
  EXPECT_EQ(LineOfDeeperKey("", kMost), std::nullopt);
  EXPECT_EQ(LineOfDeeperKey("a.b.c = 1.5\nd.e.f = [1.5, 2.5, 3.5, 4.5]\n", kMost), std::nullopt);
}

TEST(LineOfDeeperKeyTest, DotsInStringsAndCommentsDoNotCount) {
  for (const std::string text :
       {"a = \"../../../x.y.z\"", "a = '../../../x'", "# a.b.c.d", "a = \"\\\"....\"",
        "a = '''\n....'\n....'''", "a = \"\"\"\n.\"\".\\\"\"\"...\"\"\"", "a = '\\'",
        "a = '''....'''''"}) {
    EXPECT_EQ(LineOfDeeperKey(text, kMost), std::nullopt) << text;
    EXPECT_TRUE(LineOfDeeperKey(text + "\nb.c.d.e = 1", kMost)) << text;
  }
}

TEST(LineOfDeeperKeyTest, ReadsToTheEndOfWhatIsNotToml) {
  for (const char* text : {"\"", "'''", "\"\\", "a = '", "\"\"\"\\", "#"}) {
    EXPECT_EQ(LineOfDeeperKey(text, kMost), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace fedtune
