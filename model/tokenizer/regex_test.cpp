// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/regex.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using testing::IsOk;

std::vector<ByteRange> FindAll(std::string_view pattern, std::string_view text) {
  const absl::StatusOr<Regex> regex = Regex::Compile(pattern);
  EXPECT_THAT(regex, IsOk());
  std::vector<ByteRange> matches;
  RegexSearch search(*regex);
  EXPECT_THAT(search.FindAll(text, matches), IsOk());
  return matches;
}

TEST(RegexTest, FindsMatchesFromLeftToRight) {
  EXPECT_THAT(FindAll(R"(\p{N}{1,3})", "a12345"), ElementsAre(ByteRange{1, 4}, ByteRange{4, 6}));
}

TEST(RegexTest, CountsInBytes) {
  EXPECT_THAT(FindAll("b", "\u00E4b"), ElementsAre(ByteRange{2, 3}));
}

TEST(RegexTest, LooksAhead) {
  EXPECT_THAT(FindAll(R"(\s+(?!\S)|\s+)", "a   b"), ElementsAre(ByteRange{1, 3}, ByteRange{3, 4}));
}

TEST(RegexTest, TakesDollarForTheEndOfALine) {
  EXPECT_THAT(FindAll("a$", "a\na"), ElementsAre(ByteRange{0, 1}, ByteRange{2, 3}));
}

TEST(RegexTest, DropsEmptyMatchesThatTouchTheMatchBefore) {
  EXPECT_THAT(FindAll("a*", "baac"),
              ElementsAre(ByteRange{0, 0}, ByteRange{1, 3}, ByteRange{4, 4}));
}

TEST(RegexTest, StepsOverWholeCharactersAfterAnEmptyMatch) {
  EXPECT_THAT(FindAll("x*", "\u00E4"), ElementsAre(ByteRange{0, 0}, ByteRange{2, 2}));
}

TEST(RegexTest, FindsNothingInEmptyText) { EXPECT_THAT(FindAll("a", ""), ElementsAre()); }

TEST(RegexTest, RefusesABrokenExpression) {
  const auto regex = Regex::Compile("(a");
  EXPECT_THAT(regex, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(std::string(regex.status().message()),
              ::testing::HasSubstr("end pattern with unmatched parenthesis"));
}

TEST(RegexTest, RefusesAnExpressionThatIsTooLong) {
  EXPECT_THAT(Regex::Compile(std::string(65 * 1024, 'a')),
              HasCode(absl::StatusCode::kInvalidArgument));
}

TEST(RegexTest, GivesUpInsteadOfTryingForever) {
  const absl::StatusOr<Regex> regex = Regex::Compile("(a|a)*[^a]");
  ASSERT_THAT(regex, IsOk());
  RegexSearch search(*regex);
  std::vector<ByteRange> matches;
  EXPECT_THAT(search.FindAll(std::string(40, 'a'), matches),
              HasCode(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace fedtune
