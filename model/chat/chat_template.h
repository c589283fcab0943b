// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/chat/marked_text.h"
#include "model/chat/template_tree.h"

namespace fedtune {

// What one speaker says.
struct ChatMessage {
  std::string role;  // "system", "user", "assistant" or "tool".
  std::string content;
  bool is_learnt = true;  // Whether what the assistant says here is marked.
  // What some templates write besides; empty: not there.
  std::string name = {};
  std::string tool_call_id = {};
};

// How a model was taught to read conversations: its chat template, in the part of
// Jinja that such templates need. It writes what transformers' apply_chat_template
// writes, or refuses, but for one thing: strftime_now is not defined. A template that would
// write today's date, as Llama 3.2's, writes the one that it holds for those who have none, so
// that all institutions train on the same text on all days. A template comes with a model, from
// outside: what it can do is bounded (see RunTemplate()).
//
//   ASSIGN_OR_RETURN(const std::optional<ChatTemplate> chat, ChatTemplate::Load(folder));
//   ASSIGN_OR_RETURN(const MarkedText text, chat->Render(messages, /*ask=*/true));
//
// Movable. Const methods are thread-safe.
class ChatTemplate {
 public:
  // The texts of the marks that templates may name.
  struct Marks {
    std::string bos = {};
    std::string eos = {};
    std::map<std::string, std::string> others = {};  // "pad_token" and the like, where given.
  };

  // `source` names the template in messages.
  //
  // INVALID_ARGUMENT: not UTF-8, not Jinja, or not in the part of it that is
  // supported.
  static absl::StatusOr<ChatTemplate> Parse(std::string_view text, std::string source, Marks marks);

  // The one of a checkpoint's folder: the file chat_template.jinja, or else what
  // tokenizer_config.json has as "chat_template" (where there are several, the
  // one named "default"). Nothing if it has none.
  //
  // INVALID_ARGUMENT: also an ill-typed field. PERMISSION_DENIED.
  static absl::StatusOr<std::optional<ChatTemplate>> Load(
      const std::filesystem::path& model_folder);

  // The conversation as the model reads it; with `ask` it ends where the
  // assistant is to go on. What the assistant has said is marked, where it is learnt.
  //
  // INVALID_ARGUMENT, RESOURCE_EXHAUSTED: see RunTemplate(); names the template.
  absl::StatusOr<MarkedText> Render(const std::vector<ChatMessage>& messages, bool ask) const;

 private:
  ChatTemplate(std::vector<TemplateStatement> statements, std::string source, Marks marks);

  std::vector<TemplateStatement> statements_;
  std::string source_;
  Marks marks_;
};

}  // namespace fedtune
