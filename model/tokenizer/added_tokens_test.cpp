// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/added_tokens.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/small_tokenizer_file.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::AddedTokenEntry;
using ::testing::ElementsAre;
using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

nlohmann::json Entry(int id, std::string_view content, std::initializer_list<std::string> flags) {
  nlohmann::json entry = AddedTokenEntry(id, content);
  for (const std::string& flag : flags) entry[flag] = true;
  return entry;
}

template <typename... Entries>
nlohmann::json List(const Entries&... entries) {
  nlohmann::json list = nlohmann::json::array();
  (list.push_back(entries), ...);
  return list;
}

// The pieces of `text`, those of tokens in brackets.
std::vector<std::string> Split(const nlohmann::json& section, std::string_view text) {
  const auto added = AddedTokens::FromJson(section, "added_tokens", TokenTable());
  EXPECT_THAT(added, IsOk());
  std::vector<std::string> pieces;
  if (!added.ok()) return pieces;
  for (const AddedTokens::Piece& piece : added->Split(text)) {
    pieces.push_back(piece.token == nullptr ? std::string(piece.text)
                                            : fmt::format("[{}]", piece.text));
  }
  return pieces;
}

void ExpectRefused(const nlohmann::json& section, std::string_view reason) {
  TokenTable vocabulary;
  ASSERT_THAT(vocabulary.Add("a", 0), IsOk());
  ASSERT_THAT(vocabulary.Add("b", 1), IsOk());
  const auto added = AddedTokens::FromJson(section, "added_tokens", vocabulary);
  EXPECT_THAT(added, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(added.status().message()), HasSubstr(std::string(reason)));
}

TEST(AddedTokensTest, FindsTokensInTheText) {
  EXPECT_THAT(Split(List(Entry(5, "<x>", {}), Entry(6, "<y>", {})), "<x>a<y><y>b"),
              ElementsAre("[<x>]", "a", "[<y>]", "[<y>]", "b"));
}

TEST(AddedTokensTest, FindsNothingWithoutTokens) {
  EXPECT_THAT(Split(nullptr, "a<x>"), ElementsAre("a<x>"));
  EXPECT_THAT(Split(nlohmann::json::array(), ""), ElementsAre());
}

TEST(AddedTokensTest, PrefersTheLeftmostAndThenTheLongest) {
  const nlohmann::json section =
      List(Entry(5, "ab", {}), Entry(6, "abc", {}), Entry(7, "bcde", {}));
  EXPECT_THAT(Split(section, "abcde abx"), ElementsAre("[abc]", "de ", "[ab]", "x"));
}

TEST(AddedTokensTest, LooksForNormalizedTokensAfterTheOthers) {
  const nlohmann::json section = List(Entry(5, "abc", {"normalized"}), Entry(6, "c", {}));
  EXPECT_THAT(Split(section, "abcabc"), ElementsAre("ab", "[c]", "ab", "[c]"));
}

TEST(AddedTokensTest, TakesWhiteSpaceAlong) {
  EXPECT_THAT(Split(List(Entry(5, "<l>", {"lstrip"})), "a \t<l> b"),
              ElementsAre("a", "[ \t<l>]", " b"));
  EXPECT_THAT(Split(List(Entry(5, "<r>", {"rstrip"})), "a <r>\n\u2003b"),
              ElementsAre("a ", "[<r>\n\u2003]", "b"));
  EXPECT_THAT(Split(List(Entry(5, "<b>", {"lstrip", "rstrip"})), " <b>  <b> "),
              ElementsAre("[ <b>  ]", "[<b> ]"));
}

// As Hugging Face's library leaves out a token of which nothing is left.
TEST(AddedTokensTest, TakesWhiteSpaceOnce) {
  EXPECT_THAT(Split(List(Entry(5, " ", {"lstrip", "rstrip"})), "a   b"),
              ElementsAre("a", "[   ]", "b"));
  EXPECT_THAT(Split(List(Entry(5, "<r>", {"rstrip"}), Entry(6, "\n", {"lstrip"})), "<r>\n\nb\n"),
              ElementsAre("[<r>\n\n]", "b", "[\n]"));
}

TEST(AddedTokensTest, WantsSingleWordsToStandAlone) {
  EXPECT_THAT(
      Split(List(Entry(5, "<w>", {"single_word"})), "<w>a <w> a<w> .<w>\u0301 _<w> \u4E2D<w>-<w>"),
      ElementsAre("<w>a ", "[<w>]", " a<w> .<w>\u0301 _<w> \u4E2D<w>-", "[<w>]"));
}

TEST(AddedTokensTest, RefusesATokenWithAnotherIdInTheModel) {
  ExpectRefused(List(Entry(5, "a", {})),
                "added_tokens[0]: token \"a\" has id 5 here and 0 in the model");
}

TEST(AddedTokensTest, RefusesTheIdOfAnotherTokenOfTheModel) {
  ExpectRefused(List(Entry(1, "x", {})),
                "added_tokens[0]: token \"x\" has id 1, which is that of \"b\" in the model");
}

TEST(AddedTokensTest, AreNumberedFromTheSizeOfTheModelsVocabularyInTheOrderOfTheFile) {
  TokenTable vocabulary;
  ASSERT_THAT(vocabulary.Add("a", 0), IsOk());
  ASSERT_THAT(vocabulary.Add("b", 3), IsOk());
  const auto check = [&](const nlohmann::json& section) {
    return AddedTokens::FromJson(section, "added_tokens", vocabulary)
        ->CheckNumbers("added_tokens", vocabulary);
  };
  const nlohmann::json b = Entry(3, "b", {});
  EXPECT_THAT(check(List(b, Entry(2, "x", {}))), IsOk());
  for (const nlohmann::json& section : {List(Entry(2, "x", {}), Entry(4, "y", {})),
                                        List(b, Entry(4, "x", {})), List(Entry(1, "x", {}), b)}) {
    EXPECT_THAT(check(section), HasCode(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(
      std::string(check(List(b, Entry(5, "x", {}))).message()),
      HasSubstr("added_tokens[1]: token \"x\" has id 5, but Hugging Face's tokenizers number "
                "it 2"));
}

TEST(AddedTokensTest, RefusesTwoTokensWithOneIdAndTwoIdsForOneToken) {
  ExpectRefused(List(Entry(5, "x", {}), Entry(5, "y", {})), "have the same id 5");
  ExpectRefused(List(Entry(5, "x", {}), Entry(6, "x", {})), "token \"x\" has two ids, 5 and 6");
}

TEST(AddedTokensTest, RefusesAnEmptyToken) {
  ExpectRefused(List(Entry(5, "", {})), "added_tokens[0]: \"content\" is empty");
}

TEST(AddedTokensTest, RefusesAnIdOutOfRange) {
  ExpectRefused(List(Entry(-3, "x", {})), "added_tokens[0]: id -3 is not between 0 and 1048575");
}

TEST(AddedTokensTest, RefusesFieldsOfTheWrongType) {
  for (const std::string field :
       {"id", "content", "special", "normalized", "lstrip", "rstrip", "single_word"}) {
    nlohmann::json entry = Entry(5, "x", {});
    entry.erase(field);
    ExpectRefused(List(entry), fmt::format("added_tokens[0]: \"{}\" is missing", field));
    entry[field] = nlohmann::json::array();
    ExpectRefused(List(entry), fmt::format("added_tokens[0]: \"{}\" must be", field));
  }
  ExpectRefused(nlohmann::json("x"), "added_tokens: must be a list");
  ExpectRefused(List("x"), "added_tokens[0]: must be an object");
}

}  // namespace
}  // namespace fedtune
