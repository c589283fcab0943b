// SPDX-License-Identifier: Apache-2.0

#include "client/data/prompt_template.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;

PromptSegment Prompt(std::string text) { return {std::move(text), /*is_answer=*/false}; }
PromptSegment Answer(std::string text) { return {std::move(text), /*is_answer=*/true}; }

TEST(RenderPlainTest, PutsTheInputUnderTheInstruction) {
  EXPECT_THAT(RenderPlain(InstructionRecord{"What is it?", "Heart failure", "a disease"}),
              ElementsAre(Prompt("What is it?\nHeart failure:"), Answer(" a disease")));
}

TEST(RenderPlainTest, LeavesOutAnEmptyInstructionOrInput) {
  EXPECT_THAT(RenderPlain(InstructionRecord{"", "Heart failure", "a disease"}),
              ElementsAre(Prompt("Heart failure:"), Answer(" a disease")));
  EXPECT_THAT(RenderPlain(InstructionRecord{"Say hello", "", "Hello"}),
              ElementsAre(Prompt("Say hello:"), Answer(" Hello")));
}

TEST(RenderPlainTest, GivesALineToEachTurnOfAConversation) {
  const ConversationRecord record{{{"system", "Be brief."},
                                   {"user", "Hi"},
                                   {"assistant", "Hello"},
                                   {"user", "Bye"},
                                   {"assistant", "Goodbye"}}};
  EXPECT_THAT(RenderPlain(record),
              ElementsAre(Prompt("system: Be brief.\nuser: Hi\nassistant:"), Answer(" Hello"),
                          Prompt("user: Bye\nassistant:"), Answer(" Goodbye")));
}

TEST(RenderPlainTest, LetsTheAssistantSpeakTwiceInARow) {
  const ConversationRecord record{{{"user", "Hi"}, {"assistant", "A"}, {"assistant", "B"}}};
  EXPECT_THAT(RenderPlain(record), ElementsAre(Prompt("user: Hi\nassistant:"), Answer(" A"),
                                               Prompt("assistant:"), Answer(" B")));
}

TEST(RenderPlainTest, LeavesOutTurnsAfterTheLastAnswer) {
  const ConversationRecord record{{{"user", "Hi"}, {"assistant", "A"}, {"user", "Thanks"}}};
  EXPECT_THAT(RenderPlain(record), ElementsAre(Prompt("user: Hi\nassistant:"), Answer(" A")));
}

}  // namespace
}  // namespace fedtune
