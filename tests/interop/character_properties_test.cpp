// SPDX-License-Identifier: Apache-2.0

// Compares with what Hugging Face's tokenizers says of every character that there
// is; tests/interop/make_younger_characters.py has asked it.

#include "model/tokenizer/character_properties.h"

#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/regex.h"
#include "model/tokenizer/utf8.h"
#include "privacy/crypto/sha256.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;

constexpr uint32_t kBlock = 0x1000;

// All characters, 4096 code points a text.
std::vector<std::string> AllCharacters() {
  std::vector<std::string> blocks;
  for (uint32_t code_point = 0; code_point < 0x110000; ++code_point) {
    if (code_point % kBlock == 0) blocks.emplace_back();
    if (code_point < 0xD800 || code_point > 0xDFFF) blocks.back() += EncodeUtf8(code_point);
  }
  return blocks;
}

// The code points that `expression` matches.
std::vector<uint32_t> Matched(const std::string& expression,
                              const std::vector<std::string>& texts) {
  std::vector<uint32_t> code_points;
  const absl::StatusOr<Regex> regex = Regex::Compile(expression);
  EXPECT_THAT(regex, IsOk()) << expression;
  if (!regex.ok()) return code_points;
  RegexSearch search(*regex);
  std::vector<ByteRange> matches;
  for (const std::string& text : texts) {
    EXPECT_THAT(search.FindAll(text, matches), IsOk()) << expression;
    for (const ByteRange& match : matches) {
      for (size_t at = match.begin; at < match.end;) {
        const CodePoint next = FirstCodePoint(std::string_view(text).substr(at));
        code_points.push_back(next.value);
        at += next.length;
      }
    }
  }
  return code_points;
}

TEST(CharacterPropertiesTest, ExpressionsMatchTheCharactersOfUnicode16) {
  const std::string file = "tests/interop/golden/character_properties.json";
  const auto golden = ParseJson(ReadFile(file).value(), file);
  ASSERT_THAT(golden, IsOk());
  const nlohmann::json& expressions = golden->at("expressions");
  ASSERT_GT(expressions.size(), 140u);
  const std::vector<std::string> texts = AllCharacters();
  for (const auto& [expression, theirs] : expressions.items()) {
    const std::vector<uint32_t> ours = Matched(expression, texts);
    EXPECT_EQ(ours.size(), theirs.at("characters")) << expression;
    Sha256 hash;
    hash.Update(std::as_bytes(std::span(ours)));
    EXPECT_EQ(std::move(hash).Finish().ToHex(), theirs.at("sha256")) << expression;
  }
}

TEST(CharacterPropertiesTest, RangesAreSortedAndHaveGapsBetweenThem) {
  for (const char* const property : {"Han", "Cn", "Kawi", "Word", "Greek"}) {
    const std::vector<CodePointRange> ranges = CharactersWith(property);
    ASSERT_FALSE(ranges.empty()) << property;
    uint32_t gap = 0;
    for (const auto& [first, last] : ranges) {
      EXPECT_GE(first, gap) << property;
      EXPECT_LE(first, last) << property;
      gap = last + 2;
    }
  }
}

TEST(CharacterPropertiesTest, NoScriptIsTakenForAnother) {
  EXPECT_FALSE(Regex::Compile(R"(\p{Kawii})").ok());
  EXPECT_FALSE(Regex::Compile(R"(\p{Nag Mundari Script})").ok());
}

TEST(CharacterPropertiesTest, CasesAreTheSameLetterToExpressionsThatSaySo) {
  EXPECT_THAT(Matched("(?i:'S)", {"'s 'S '\u017F 's"}), ::testing::SizeIs(8));
}

}  // namespace
}  // namespace fedtune
