// SPDX-License-Identifier: Apache-2.0

#include "model/tokenizer/splitter.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using testing::IsOk;

std::vector<std::string_view> Split(std::string_view text, Splitter::Options options,
                                    Splitter::Pattern pattern = std::string("-")) {
  std::vector<std::string_view> pieces{text};
  EXPECT_THAT(Splitter(std::move(pattern), options).Apply(pieces), IsOk());
  return pieces;
}

TEST(SplitterTest, RemovesMatches) {
  EXPECT_THAT(Split("a--b-c", {SplitBehaviour::kRemoved}), ElementsAre("a", "b", "c"));
}

TEST(SplitterTest, IsolatesMatches) {
  EXPECT_THAT(Split("a--b-c", {SplitBehaviour::kIsolated}),
              ElementsAre("a", "-", "-", "b", "-", "c"));
}

TEST(SplitterTest, MergesTheFirstMatchWithThePreviousPiece) {
  EXPECT_THAT(Split("-a--b-c", {SplitBehaviour::kMergedWithPrevious}),
              ElementsAre("-", "a-", "-", "b-", "c"));
}

TEST(SplitterTest, MergesTheLastMatchWithTheNextPiece) {
  EXPECT_THAT(Split("a--b-c-", {SplitBehaviour::kMergedWithNext}),
              ElementsAre("a", "-", "-b", "-c", "-"));
}

TEST(SplitterTest, JoinsNeighbouringMatches) {
  EXPECT_THAT(Split("a--b-c", {SplitBehaviour::kContiguous}),
              ElementsAre("a", "--", "b", "-", "c"));
}

TEST(SplitterTest, TakesTheRestForTheMatchWhenInverted) {
  EXPECT_THAT(Split("a--b-c", {SplitBehaviour::kRemoved, true}), ElementsAre("-", "-", "-"));
  EXPECT_THAT(Split("a--b-c", {SplitBehaviour::kMergedWithPrevious, true}),
              ElementsAre("a", "-", "-b", "-c"));
}

TEST(SplitterTest, CutsEveryPieceByItself) {
  std::vector<std::string_view> pieces{"a-", "-b", "c"};
  const Splitter splitter(std::string("-"), {SplitBehaviour::kContiguous});
  ASSERT_THAT(splitter.Apply(pieces), IsOk());
  EXPECT_THAT(pieces, ElementsAre("a", "-", "-", "b", "c"));
}

TEST(SplitterTest, SplitsByAnExpression) {
  EXPECT_THAT(Split("ab12c", {SplitBehaviour::kIsolated}, *Regex::Compile(R"(\p{N}+)")),
              ElementsAre("ab", "12", "c"));
}

TEST(SplitterTest, MakesNoEmptyPieces) {
  EXPECT_THAT(Split("ab", {SplitBehaviour::kIsolated}, *Regex::Compile("x*")),
              ElementsAre("a", "b"));
  EXPECT_THAT(Split("--", {SplitBehaviour::kRemoved}), ElementsAre());
}

TEST(SplitterTest, SaysWhenAnExpressionTakesTooLong) {
  const std::string text(40, 'a');
  std::vector<std::string_view> pieces{text};
  const Splitter splitter(*Regex::Compile("(a|a)*[^a]"), {});
  EXPECT_THAT(splitter.Apply(pieces), HasCode(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace fedtune
