// SPDX-License-Identifier: Apache-2.0

// Where a model's folder has its chat template.

#include <string>

#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/chat/chat_template.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temporary_directory.h"
#include "tests/support/written_chat.h"

namespace fedtune {
namespace {

using ::testing::HasSubstr;
using testing::IsOk;

class ChatTemplateFileTest : public ::testing::Test {
 protected:
  void Put(const std::string& name, const std::string& content) {
    ASSERT_THAT(WriteFileAtomically(folder_.path() / name, content), IsOk());
  }
  std::string Load() {
    const auto chat = ChatTemplate::Load(folder_.path());
    if (!chat.ok()) return std::string(chat.status().message());
    if (!chat->has_value()) return "none";
    return (*chat)->Render(testing::kTalk, /*ask=*/true)->text();
  }

  const testing::TemporaryDirectory folder_;
};

TEST_F(ChatTemplateFileTest, AModelMayHaveNone) {
  EXPECT_EQ(Load(), "none");
  Put("tokenizer_config.json", "{}");
  EXPECT_EQ(Load(), "none");
}

TEST_F(ChatTemplateFileTest, TheConfigurationHasItAndItsMarks) {
  Put("tokenizer_config.json",
      R"({"chat_template": "{{ bos_token ~ eos_token }}", "bos_token": "B", "eos_token": {"content": "E"}})");
  EXPECT_EQ(Load(), "BE");
}

TEST_F(ChatTemplateFileTest, TheMarksOfTheMapComeFirst) {
  Put("tokenizer_config.json",
      R"({"chat_template": "{{ bos_token ~ eos_token }}", "bos_token": "B", "eos_token": "E"})");
  Put("special_tokens_map.json", R"({"eos_token": "M"})");
  EXPECT_EQ(Load(), "BM");
}

TEST_F(ChatTemplateFileTest, OtherNamedMarksAreThereWhereTheyAreGiven) {
  Put("tokenizer_config.json",
      R"({"chat_template": "{{ pad_token }}{{ unk_token is defined }}{{ cls_token }}{{ add_bos_token is defined }}",
          "pad_token": "P", "cls_token": {"content": "C"}, "add_bos_token": true})");
  EXPECT_EQ(Load(), "PFalseCFalse");
}

TEST_F(ChatTemplateFileTest, OfSeveralTheDefaultIsTaken) {
  Put("tokenizer_config.json",
      R"({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]})");
  EXPECT_EQ(Load(), "d");
}

TEST_F(ChatTemplateFileTest, AFileOfItsOwnComesFirst) {
  Put("tokenizer_config.json", R"({"chat_template": "c"})");
  Put("chat_template.jinja", "f\n");
  EXPECT_EQ(Load(), "f");
}

TEST_F(ChatTemplateFileTest, NamesTheFileOfAProblem) {
  Put("tokenizer_config.json", R"({"chat_template": 1})");
  EXPECT_THAT(Load(), HasSubstr("tokenizer_config.json: \"chat_template\" is neither text"));
  Put("tokenizer_config.json", R"({"chat_template": "{% import 'x' %}"})");
  EXPECT_THAT(Load(), HasSubstr("tokenizer_config.json: chat_template: line 1: \"import\" is not"));
  Put("tokenizer_config.json", "[]");
  EXPECT_THAT(Load(), HasSubstr("tokenizer_config.json: must be an object"));
}

}  // namespace
}  // namespace fedtune
