// SPDX-License-Identifier: Apache-2.0

#include "client/data/record_tokenizer.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/tokenizer/small_tokenizer_file.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using ::testing::ElementsAre;
using testing::HasCode;
using testing::IsOk;

constexpr int32_t kBos = 259;
constexpr int32_t kEos = 260;

// Begin and end marks shown as "^" and "$", and targets in upper case.
std::string Show(const TokenizedRecord& record, const Tokenizer& tokenizer) {
  std::string text;
  for (size_t i = 0; i < record.tokens.size(); ++i) {
    const int32_t token = record.tokens[i];
    std::string one = token == kBos   ? "^"
                      : token == kEos ? "$"
                                      : tokenizer.Decode({&token, 1}, /*skip_special=*/false);
    if (token == kEos && record.is_target[i] == 0) one = "(untrained end)";
    for (char& letter : one) {
      if (record.is_target[i] == 1) letter = static_cast<char>(std::toupper(letter));
    }
    text += one;
  }
  return text;
}

class RecordTokenizerTest : public ::testing::Test {
 protected:
  static Tokenizer MakeTokenizer() {
    nlohmann::json file = testing::SmallTokenizerFile();
    file["model"]["merges"] = nlohmann::json::array();  // A token for each byte.
    file["added_tokens"] = {testing::AddedTokenEntry(kBos, "<begin>"),
                            testing::AddedTokenEntry(kEos, "<end>")};
    return Tokenizer::FromJson(file.dump(), "tokenizer.json").value();
  }

  // The record as Show() gives it, or why it is rejected.
  std::string Tokenize(const DatasetRecord& record, int64_t context,
                       LongPrompts long_prompts = LongPrompts::kReject) {
    const RecordTokenizer tokenizer(tokenizer_, special_, {context, long_prompts});
    const auto tokenized = tokenizer.Tokenize(record);
    if (!tokenized.ok()) return std::string(tokenized.status().message());
    EXPECT_LE(tokenized->tokens.size(), static_cast<size_t>(context));
    EXPECT_EQ(tokenized->tokens.size(), tokenized->is_target.size());
    return Show(*tokenized, tokenizer_);
  }

  const Tokenizer tokenizer_ = MakeTokenizer();
  SpecialTokens special_{.bos = kBos, .eos = kEos};
  const InstructionRecord record_{"say", "it", "ok"};
  const ConversationRecord talk_{
      {{"user", "a"}, {"assistant", "bb"}, {"user", "c"}, {"assistant", "dd"}}};
};

TEST_F(RecordTokenizerTest, TrainsTheAnswerAndItsEndMark) {
  EXPECT_EQ(Tokenize(record_, 100), "^say\nit: OK$");
}

TEST_F(RecordTokenizerTest, TrainsEveryAnswerOfAConversation) {
  EXPECT_EQ(Tokenize(talk_, 100), "^user: a\nassistant: BB$user: c\nassistant: DD$");
}

TEST_F(RecordTokenizerTest, ReadsAnAnswerOfWeightZeroWithoutTrainingIt) {
  ConversationRecord talk = talk_;
  talk.turns[1].is_learnt = false;
  EXPECT_EQ(Tokenize(talk, 100), "^user: a\nassistant: bb(untrained end)user: c\nassistant: DD$");
  talk = talk_;
  talk.turns[3].is_learnt = false;
  EXPECT_EQ(Tokenize(talk, 100), "^user: a\nassistant: BB$");
}

TEST_F(RecordTokenizerTest, RejectsATokenThatTheModelDoesNotKnow) {
  const RecordTokenizer tokenizer(tokenizer_, special_,
                                  {.context_length = 100, .vocabulary_size = kEos});
  const auto tokenized = tokenizer.Tokenize(record_);
  ASSERT_THAT(tokenized, HasCode(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(tokenized.status().message(),
            "has token 260, but the model's vocabulary ends at 259; is the tokenizer another "
            "model's?");
}

TEST_F(RecordTokenizerTest, PutsNoMarksWhereTheModelHasNone) {
  special_ = {};
  EXPECT_EQ(Tokenize(record_, 100), "say\nit: OK");
}

TEST_F(RecordTokenizerTest, PutsNoBeginMarkWhereTheModelSawNone) {
  special_.add_bos = false;
  EXPECT_EQ(Tokenize(record_, 100), "say\nit: OK$");
}

TEST_F(RecordTokenizerTest, TakesARecordThatJustFits) {
  EXPECT_EQ(Tokenize(record_, 12), "^say\nit: OK$");
}

TEST_F(RecordTokenizerTest, RejectsALongPromptUnlessToldToCutIt) {
  EXPECT_EQ(Tokenize(record_, 11), "12 tokens, but the context has 11");
}

TEST_F(RecordTokenizerTest, CutsALongPromptFromTheLeftWhenToldTo) {
  EXPECT_EQ(Tokenize(record_, 11, LongPrompts::kTruncateLeft), "^ay\nit: OK$");
  EXPECT_EQ(Tokenize(record_, 6, LongPrompts::kTruncateLeft), "^: OK$");
}

TEST_F(RecordTokenizerTest, NeverCutsAnAnswer) {
  EXPECT_EQ(Tokenize(record_, 5, LongPrompts::kTruncateLeft),
            "the answer has 4 tokens, which leaves no room for a prompt in a context of 5");
  EXPECT_EQ(Tokenize(InstructionRecord{"a", "", std::string(2000, 'b')}, 1024),
            "the answer has 2,002 tokens, which leaves no room for a prompt in a context of 1,024");
}

TEST_F(RecordTokenizerTest, LeavesOneTokenOfThePromptWithoutABeginMarkToo) {
  special_ = {};
  EXPECT_EQ(Tokenize(record_, 4, LongPrompts::kTruncateLeft), ": OK");
  EXPECT_EQ(Tokenize(record_, 3, LongPrompts::kTruncateLeft),
            "the answer has 3 tokens, which leaves no room for a prompt in a context of 3");
}

TEST_F(RecordTokenizerTest, DoesNotTrainAnEarlierAnswerThatLostTokens) {
  // The cut goes through the first answer, " bb" and its end mark.
  EXPECT_EQ(Tokenize(talk_, 25, LongPrompts::kTruncateLeft),
            "^b(untrained end)user: c\nassistant: DD$");
}

TEST_F(RecordTokenizerTest, DoesNotTrainAnEarlierAnswerThatLostItsPrompt) {
  EXPECT_EQ(Tokenize(talk_, 27, LongPrompts::kTruncateLeft),
            "^ bb(untrained end)user: c\nassistant: DD$");
  EXPECT_EQ(Tokenize(talk_, 28, LongPrompts::kTruncateLeft), "^: BB$user: c\nassistant: DD$");
}

TEST_F(RecordTokenizerTest, SaysWhenTextCannotBeTokenized) {
  const RecordTokenizer tokenizer(tokenizer_, special_, {.context_length = 100});
  EXPECT_THAT(tokenizer.Tokenize(InstructionRecord{"\xFF", "", "a"}),
              HasCode(absl::StatusCode::kInvalidArgument));
}

class ChatTokenizerTest : public RecordTokenizerTest {
 protected:
  static UsableChat Chat(std::string_view text) {
    auto chat = ChatTemplate::Parse(text, "folder/chat_template.jinja", {"<begin>", "<end>"});
    if (!chat.ok()) return chat.status();
    return std::optional<ChatTemplate>(*std::move(chat));
  }

  std::string TokenizeChat(std::string_view text, const DatasetRecord& record, int64_t context,
                           LongPrompts long_prompts = LongPrompts::kReject) {
    const RecordTokenizer tokenizer(tokenizer_, special_, {context, long_prompts}, Chat(text));
    const auto tokenized = tokenizer.Tokenize(record);
    if (!tokenized.ok()) return std::string(tokenized.status().message());
    return Show(*tokenized, tokenizer_);
  }

  static constexpr std::string_view kChat =
      "{{ bos_token }}{% for m in messages %}{{ m.role[:1] }}:{{ m.content }}"
      "{{ eos_token if m.role == 'assistant' else '' }};{% endfor %}";
};

TEST_F(ChatTokenizerTest, TrainsEveryAnswerAndTheMarkBehindIt) {
  EXPECT_EQ(TokenizeChat(kChat, talk_, 100), "^u:a;a:BB$;u:c;a:DD$");
}

TEST_F(ChatTokenizerTest, TrainsAMarkThatStandsBehindWhiteSpaceAfterAnAnswer) {
  const std::string chat =
      "{{ bos_token }}{% for m in messages %}{{ m.role[:1] }}:{{ m.content }}"
      "{{ '\n ' + eos_token + '\n' if m.role == 'assistant' else '' }};{% endfor %}";
  EXPECT_EQ(TokenizeChat(chat, talk_, 100), "^u:a;a:BB\n $\n;u:c;a:DD\n $");
  EXPECT_EQ(TokenizeChat(chat, talk_, 13, LongPrompts::kTruncateLeft), "^;u:c;a:DD\n $");
}

TEST_F(ChatTokenizerTest, TrainsNoWhiteSpaceBehindAnAnswerWithoutAMarkBehindIt) {
  const std::string chat =
      "{{ bos_token }}{% for m in messages %}{{ m.role[:1] }}:{{ m.content + ' \n' }}"
      "{% endfor %}";
  EXPECT_EQ(TokenizeChat(chat, talk_, 100), "^u:a \na:BB \nu:c \na:DD");
}

TEST_F(ChatTokenizerTest, TrainsNoWhiteSpaceAndMarkBehindAnAnswerOfWeightZero) {
  ConversationRecord talk = talk_;
  talk.turns[1].is_learnt = false;
  const std::string chat =
      "{% for m in messages %}{{ m.content + '\n' }}"
      "{{ eos_token if m.role == 'assistant' else '' }}{% endfor %}";
  EXPECT_EQ(TokenizeChat(chat, talk, 100), "a\nbb\n(untrained end)c\nDD\n$");
}

TEST_F(ChatTokenizerTest, ReadsAnAnswerOfWeightZeroWithoutTrainingIt) {
  ConversationRecord talk = talk_;
  talk.turns[1].is_learnt = false;
  EXPECT_EQ(TokenizeChat(kChat, talk, 100), "^u:a;a:bb(untrained end);u:c;a:DD$");
  talk = talk_;
  talk.turns[3].is_learnt = false;
  EXPECT_EQ(TokenizeChat(kChat, talk, 100), "^u:a;a:BB$");
}

TEST_F(ChatTokenizerTest, LeavesOutTurnsAfterTheLastAnswer) {
  const ConversationRecord record{{{"user", "a"}, {"assistant", "b"}, {"user", "thanks"}}};
  EXPECT_EQ(TokenizeChat(kChat, record, 100), "^u:a;a:B$");
}

TEST_F(ChatTokenizerTest, RejectsWhatDoesNotFitUnlessToldToCutIt) {
  EXPECT_EQ(TokenizeChat(kChat, talk_, 18), "20 tokens, but the context has 18");
  EXPECT_EQ(TokenizeChat(kChat, talk_, 12, LongPrompts::kTruncateLeft),
            "^(untrained end);u:c;a:DD$");
}

TEST_F(ChatTokenizerTest, RejectsConversationsWhoseTemplateCannotBeUsed) {
  EXPECT_EQ(TokenizeChat("{% include 'x' %}", talk_, 100),
            "folder/chat_template.jinja: line 1: \"include\" is not supported");
  EXPECT_EQ(TokenizeChat("{{ raise_exception('x') }}", talk_, 100),
            "folder/chat_template.jinja: line 1: the chat template refuses the conversation");
  EXPECT_EQ(TokenizeChat("{{ messages[0].content }}", talk_, 100),
            "the chat template leaves out every answer");
}

TEST_F(ChatTokenizerTest, TakesInstructionsWithoutTheTemplate) {
  EXPECT_EQ(TokenizeChat("{% include 'x' %}", record_, 100), "^say\nit: OK$");
}

}  // namespace
}  // namespace fedtune
