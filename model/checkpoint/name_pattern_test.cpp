// SPDX-License-Identifier: Apache-2.0

#include "model/checkpoint/name_pattern.h"

#include "base/status.h"
#include "gmock/gmock.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::HasCode;
using ::testing::HasSubstr;
using testing::IsOk;

constexpr char kQuery[] = "model.layers.1.self_attn.q_proj";

bool Matches(std::string_view pattern, std::string_view name = kQuery) {
  const auto created = NamePattern::Create(pattern);
  EXPECT_THAT(created, IsOk());
  return created.ok() && created->Matches(name);
}

TEST(NamePatternTest, MatchesWholeNamesAndTheirEnds) {
  for (const char* pattern : {kQuery, "q_proj", "self_attn.q_proj", "1.self_attn.q_proj"}) {
    EXPECT_TRUE(Matches(pattern)) << pattern;
  }
}

TEST(NamePatternTest, MatchesNothingWithinAName) {
  for (const char* pattern :
       {"proj", "_proj", "self_attn", "layers", "x.q_proj", "q_proj.weight"}) {
    EXPECT_FALSE(Matches(pattern)) << pattern;
  }
  EXPECT_FALSE(Matches("model.layers.1.self_attn.q_proj", "q_proj"));
}

TEST(NamePatternTest, TakesADotForAnyCharacterAsPeftDoes) {
  EXPECT_TRUE(Matches("self.attn.q.proj"));
}

TEST(NamePatternTest, TakesRegularExpressions) {
  EXPECT_TRUE(Matches(R"(layers\.[01]\..*)"));
  EXPECT_TRUE(Matches("(k|q)_proj"));
  EXPECT_TRUE(Matches("k_proj|q_proj"));
  EXPECT_TRUE(Matches(R"(.*\.q_proj)"));
  EXPECT_FALSE(Matches(R"(layers\.[2-9]\..*)"));
  EXPECT_FALSE(Matches("q_pro?"));
}

TEST(NamePatternTest, TakesALargeExpressionToo) {
  EXPECT_THAT(NamePattern::Create(R"([^.]{1,400}\.[^.]{1,400}\.q_proj)"), IsOk());
}

TEST(NamePatternTest, MatchesInLinearTime) {
  EXPECT_FALSE(Matches("(a*)*(a*)*b", std::string(10'000, 'a')));
}

TEST(NamePatternTest, RefusesWhatIsNoPattern) {
  EXPECT_THAT(NamePattern::Create(""), HasCode(absl::StatusCode::kInvalidArgument));
  const auto broken = NamePattern::Create("q_(proj");
  ASSERT_THAT(broken, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(broken.status()), HasSubstr("\"q_(proj\" is not a regular expression"));
  EXPECT_THAT(NamePattern::Create(std::string(1001, 'a')),
              HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(NamePattern::Create("(a{1000}){1000}"), HasCode(absl::StatusCode::kInvalidArgument));
}

// RE2 would take the braces for themselves.
TEST(NamePatternTest, TakesALowestNumberThatIsLeftOutFor0AsPythonDoes) {
  EXPECT_TRUE(Matches(R"(layers\.\d{,2}\..*)"));
  EXPECT_FALSE(Matches(R"(layers\.\d{,2}\..*)", "layers.123.q_proj"));
  EXPECT_TRUE(Matches("x{,}q_proj"));
  EXPECT_FALSE(Matches(R"(q\{,2}_proj)"));
  EXPECT_TRUE(Matches("[{,1}]", "x.,"));
}

TEST(NamePatternTest, TakesACountThatBeginsWithZerosForItsNumberAsPythonDoes) {
  EXPECT_TRUE(Matches("x{02}", "xx"));
  EXPECT_TRUE(Matches("x{00,010}", "xx"));
  EXPECT_TRUE(Matches("x{,02}", "xx"));
  EXPECT_FALSE(Matches("x{,02}", "xxx"));
  EXPECT_TRUE(Matches("x{00}y", "y"));
  for (const char* no_count : {"x{}", "x{0,1,2}", "x{02"}) EXPECT_TRUE(Matches(no_count, no_count));
}

TEST(NamePatternTest, RefusesAClassByNameWhichPythonTakesForItsLetters) {
  const auto refused = NamePattern::Create("[[:alpha:]]_proj");
  ASSERT_THAT(refused, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Message(refused.status()), HasSubstr("[:alpha:], which Python has not"));
  EXPECT_TRUE(Matches("[[:]q_proj", "[q_proj"));
}

}  // namespace
}  // namespace fedtune
