// SPDX-License-Identifier: Apache-2.0

// Prints what a model's chat template makes of conversations, for test_chat.py.

#include <filesystem>
#include <iostream>

#include "base/command_line.h"
#include "base/files.h"
#include "base/json.h"
#include "base/status_macros.h"
#include "model/chat/chat_template.h"
#include "model/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace fedtune {
namespace {

absl::StatusOr<nlohmann::json> TextsOf(const ChatTemplate& chat, const Tokenizer& tokenizer,
                                       const nlohmann::json& conversation) {
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& message : conversation) {
    messages.push_back(
        {message.at("role").get<std::string>(), message.at("content").get<std::string>()});
  }
  ASSIGN_OR_RETURN(const MarkedText text, chat.Render(messages, /*ask=*/false));
  ASSIGN_OR_RETURN(const MarkedText asked, chat.Render(messages, /*ask=*/true));
  ASSIGN_OR_RETURN(const Tokenizer::EncodedText encoded, tokenizer.EncodeWithEnds(text.text()));
  return nlohmann::json{{"text", text.text()}, {"asked", asked.text()}, {"ids", encoded.ids}};
}

absl::Status PrintTexts(const std::filesystem::path& model, const std::filesystem::path& file) {
  ASSIGN_OR_RETURN(const std::optional<ChatTemplate> chat, ChatTemplate::Load(model));
  if (!chat.has_value()) return absl::InvalidArgumentError("the model has no chat template");
  ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(model / "tokenizer.json"));
  ASSIGN_OR_RETURN(const std::string content, ReadFile(file));
  ASSIGN_OR_RETURN(const nlohmann::json conversations, ParseJson(content, file.string()));
  nlohmann::json texts = nlohmann::json::array();
  for (const nlohmann::json& conversation : conversations) {
    ASSIGN_OR_RETURN(texts.emplace_back(), TextsOf(*chat, tokenizer, conversation));
  }
  std::cout << texts.dump() << '\n';
  return absl::OkStatus();
}

}  // namespace
}  // namespace fedtune

int main(int argc, char** argv) {
  std::filesystem::path model;
  std::filesystem::path conversations;
  fedtune::CommandLine line({"chat_texts",
                             "Prints what a model's chat template makes of conversations.",
                             {"chat_texts --model DIR --conversations talks.json"}});
  line.root().add_option("--model", model, "Folder of a checkpoint")->required();
  line.root()
      .add_option("--conversations", conversations, "JSON file with lists of messages")
      ->required();
  line.SetAction([&] { return fedtune::PrintTexts(model, conversations); });
  return line.Run(argc, argv);
}
