// SPDX-License-Identifier: Apache-2.0

#include "model/chat/chat_template.h"

#include <utility>

#include "base/files.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "model/chat/template_parser.h"
#include "model/chat/template_runner.h"
#include "model/chat/template_value.h"
#include "model/tokenizer/named_tokens.h"
#include "model/tokenizer/utf8.h"

namespace fedtune {
namespace {

// The text of a file; nothing if there is none.
absl::StatusOr<std::optional<std::string>> ReadOptional(const std::filesystem::path& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  RETURN_IF_ERROR(text.status());
  return *std::move(text);
}

// A mark's text, given as such or as an object with its "content".
std::string MarkOf(const nlohmann::json& config, const char* key) {
  const nlohmann::json mark = config.value(key, nlohmann::json());
  if (mark.is_string()) return mark.get<std::string>();
  if (!mark.is_object()) return "";
  const nlohmann::json content = mark.value("content", nlohmann::json());
  return content.is_string() ? content.get<std::string>() : "";
}

ChatTemplate::Marks MarksOf(const nlohmann::json& config) {
  ChatTemplate::Marks marks{MarkOf(config, "bos_token"), MarkOf(config, "eos_token")};
  for (const auto& [key, value] : config.items()) {
    if (!key.ends_with("_token")) continue;
    if (std::string mark = MarkOf(config, key.c_str()); !mark.empty()) {
      marks.others[key] = std::move(mark);
    }
  }
  return marks;
}

// The template of a tokenizer_config.json; nothing if it has none.
absl::StatusOr<std::optional<std::string>> TemplateOf(const nlohmann::json& config) {
  const nlohmann::json field = config.value("chat_template", nlohmann::json());
  if (field.is_null()) return std::nullopt;
  if (field.is_string()) return field.get<std::string>();
  if (field.is_array()) {
    for (const nlohmann::json& one : field) {
      if (!one.is_object() || one.value("name", nlohmann::json()) != "default") continue;
      const nlohmann::json text = one.value("template", nlohmann::json());
      if (text.is_string()) return text.get<std::string>();
    }
  }
  return absl::InvalidArgumentError("\"chat_template\" is neither text nor a list with a default");
}

TemplateValue MessageValue(const ChatMessage& message) {
  const bool is_marked = message.role == "assistant" && message.is_learnt;
  TemplateObject keys = {{"role", TextValue(message.role)},
                         {"content", {MarkedText(message.content, is_marked)}}};
  if (!message.name.empty()) keys.emplace("name", TextValue(message.name));
  if (!message.tool_call_id.empty()) {
    keys.emplace("tool_call_id", TextValue(message.tool_call_id));
  }
  return ObjectValue(std::move(keys));
}

}  // namespace

ChatTemplate::ChatTemplate(std::vector<TemplateStatement> statements, std::string source,
                           Marks marks)
    : statements_(std::move(statements)), source_(std::move(source)), marks_(std::move(marks)) {}

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view text, std::string source,
                                                 Marks marks) {
  if (const std::optional<size_t> at = FindInvalidUtf8(text)) {
    return absl::InvalidArgumentError(fmt::format("{}: not UTF-8 (at byte {})", source, *at));
  }
  absl::StatusOr<std::vector<TemplateStatement>> statements = ParseTemplate(text);
  if (!statements.ok()) return Annotate(statements.status(), source);
  return ChatTemplate(*std::move(statements), std::move(source), std::move(marks));
}

absl::StatusOr<std::optional<ChatTemplate>> ChatTemplate::Load(
    const std::filesystem::path& model_folder) {
  const std::filesystem::path config_path = model_folder / "tokenizer_config.json";
  ASSIGN_OR_RETURN(nlohmann::json config, ReadTokenizerPart(model_folder, "tokenizer_config.json"));
  ASSIGN_OR_RETURN(const nlohmann::json map, ReadSpecialTokensMap(model_folder, config));
  std::filesystem::path source = model_folder / "chat_template.jinja";
  ASSIGN_OR_RETURN(std::optional<std::string> text, ReadOptional(source));
  if (!text.has_value()) {
    source = config_path;
    absl::StatusOr<std::optional<std::string>> found = TemplateOf(config);
    if (!found.ok()) return Annotate(found.status(), source.string());
    text = *std::move(found);
  }
  if (!text.has_value()) return std::nullopt;
  config.update(map);  // Marks.
  const std::string name =
      source == config_path ? source.string() + ": chat_template" : source.string();
  ASSIGN_OR_RETURN(ChatTemplate result, Parse(*text, name, MarksOf(config)));
  return result;
}

absl::StatusOr<MarkedText> ChatTemplate::Render(const std::vector<ChatMessage>& messages,
                                                bool ask) const {
  TemplateList list;
  for (const ChatMessage& message : messages) list.push_back(MessageValue(message));
  const TemplateValue none{TemplateValue::None{}};
  TemplateObject variables{{"messages", ListValue(std::move(list))},
                           {"add_generation_prompt", {ask}},
                           {"tools", none},
                           {"documents", none},
                           {"bos_token", TextValue(marks_.bos)},
                           {"eos_token", TextValue(marks_.eos)}};
  for (const auto& [name, mark] : marks_.others) variables.emplace(name, TextValue(mark));
  absl::StatusOr<MarkedText> text = RunTemplate(statements_, std::move(variables));
  if (!text.ok()) return Annotate(text.status(), source_);
  return text;
}

}  // namespace fedtune
