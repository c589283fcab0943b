// SPDX-License-Identifier: Apache-2.0

#include "client/round/answer_choices.h"

#include "gmock/gmock.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A prompt of one token and an answer.
TokenizedRecord Answered(const std::vector<int32_t>& answer) {
  TokenizedRecord record{.tokens = {1}, .is_target = {0}};
  for (const int32_t token : answer) {
    record.tokens.push_back(token);
    record.is_target.push_back(1);
  }
  return record;
}

TEST(AnswerChoicesTest, AreTheDistinctAnswersOfAllSplits) {
  const std::vector<TokenizedRecord> train = {Answered({5, 6}), Answered({3}), Answered({5, 6})};
  const std::vector<TokenizedRecord> eval = {Answered({4})};
  EXPECT_THAT(AnswerChoices({train, eval}),
              ElementsAre(ElementsAre(3), ElementsAre(4), ElementsAre(5, 6)));
}

TEST(AnswerChoicesTest, ThereAreNoneInFreeText) {
  std::vector<TokenizedRecord> records;
  records.reserve(101);
  for (int32_t i = 0; i < 100; ++i) records.push_back(Answered({i}));
  EXPECT_THAT(AnswerChoices({records}), SizeIs(100));
  records.push_back(Answered({100}));
  EXPECT_THAT(AnswerChoices({records}), IsEmpty());
}

TEST(AnswerChoicesTest, ThereAreNoneInAFewLongTexts) {
  std::vector<TokenizedRecord> records;
  for (int32_t i = 0; i < 4; ++i) records.push_back(Answered(std::vector<int32_t>(512, i)));
  records.push_back(Answered(std::vector<int32_t>(512, 0)));
  EXPECT_THAT(AnswerChoices({records}), SizeIs(4));
  records.push_back(Answered({4}));
  EXPECT_THAT(AnswerChoices({records}), IsEmpty());
}

TEST(AnswerChoicesTest, OneAnswerIsNoChoice) {
  const std::vector<TokenizedRecord> records = {Answered({5}), Answered({5})};
  EXPECT_THAT(AnswerChoices({records}), IsEmpty());
}

TEST(AnswerChoicesTest, ThereAreNoneInConversations) {
  const std::vector<TokenizedRecord> records = {
      Answered({5}), Answered({6}), {.tokens = {1, 2, 3, 4}, .is_target = {0, 1, 0, 1}}};
  EXPECT_THAT(AnswerChoices({records}), IsEmpty());
}

TEST(AnswerChoicesTest, ThereAreNoneWhereSomethingFollowsTheAnswer) {
  const std::vector<TokenizedRecord> records = {Answered({5}),
                                                {.tokens = {1, 2, 3}, .is_target = {0, 1, 0}}};
  EXPECT_THAT(AnswerChoices({records}), IsEmpty());
}

}  // namespace
}  // namespace fedtune
