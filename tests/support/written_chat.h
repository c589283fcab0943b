// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "model/chat/chat_template.h"

namespace fedtune::testing {

inline const std::vector<ChatMessage> kTalk = {{"user", "Hi"}, {"assistant", "Hello"}};

// What is written, with the assistant's words in brackets; or why nothing is.
inline std::string Write(std::string_view source,
                         const std::vector<ChatMessage>& messages = kTalk) {
  const auto chat = ChatTemplate::Parse(source, "model", {.bos = "<b>", .eos = "<e>"});
  if (!chat.ok()) return std::string(chat.status().message());
  const auto text = chat->Render(messages, /*ask=*/false);
  if (!text.ok()) return std::string(text.status().message());
  std::string shown;
  bool inside = false;
  for (size_t at = 0; at < text->size(); ++at) {
    if (text->IsAnswer(at) != inside) shown += inside ? "]" : "[";
    inside = text->IsAnswer(at);
    shown += text->text()[at];
  }
  return inside ? shown + "]" : shown;
}

}  // namespace fedtune::testing
