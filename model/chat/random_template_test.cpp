// SPDX-License-Identifier: Apache-2.0

// Templates that were drawn at random, and what transformers makes of them.

#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/chat/chat_template.h"
#include "tests/support/status_matchers.h"

namespace fedtune {
namespace {

using testing::IsOk;

nlohmann::json Golden() {
  const auto content = ReadFile("tests/interop/golden/random_chat.json");
  EXPECT_THAT(content, IsOk());
  return *ParseJson(*content, "random_chat.json");
}

TEST(RandomTemplateTest, IsWrittenAsTransformersWritesItOrRefused) {
  const nlohmann::json golden = Golden();
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& message : golden.at("messages")) {
    messages.push_back({message.at("role"), message.at("content")});
  }
  const ChatTemplate::Marks marks{golden.at("marks").at("bos"), golden.at("marks").at("eos")};
  size_t writable = 0, written = 0;
  for (const nlohmann::json& one : golden.at("cases")) {
    writable += one.contains("refused") ? 0 : 1;
    const std::string text = one.at("template");
    const auto chat = ChatTemplate::Parse(text, "drawn", marks);
    if (!chat.ok()) continue;
    const auto rendering = chat->Render(messages, /*ask=*/false);
    const auto asked = chat->Render(messages, /*ask=*/true);
    if (!rendering.ok() || !asked.ok()) continue;
    ++written;
    EXPECT_EQ(rendering->text(), one.value("text", "refused")) << text;
    EXPECT_EQ(asked->text(), one.value("asked", "refused")) << text;
  }
  EXPECT_GT(writable, 100U);
  EXPECT_GT(written, writable / 3) << "the others are refused";
}

}  // namespace
}  // namespace fedtune
