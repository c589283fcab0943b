// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "client/data/dataset.h"
#include "client/data/tokenized_record.h"
#include "model/chat/chat_template.h"
#include "model/tokenizer/special_tokens.h"
#include "model/tokenizer/tokenizer.h"

namespace fedtune {

// What is done with a record that is longer than the context because its prompt
// is. Nothing is ever cut unless the plan says so.
enum class LongPrompts { kReject, kTruncateLeft };

// A model's chat template, nothing if it has none, or why it cannot be used.
using UsableChat = absl::StatusOr<std::optional<ChatTemplate>>;

// Turns records into training examples of one model.
//
// A conversation is what the model's chat template makes of it, up to its last
// answer, with the tokens that transformers' apply_chat_template gives. Trained are
// the tokens with bytes of an answer, and a mark behind one with the white space between
// the two.
//
// Instructions, and conversations where the model has no template, are the text of
// RenderPlain(), each segment tokenized by itself, after the model's begin mark and
// with its end mark after every answer, where it has them. Trained are the tokens of
// the answers and their end marks.
//
// Answers that are not learnt are read as the others are, and not trained. Thread-safe.
class RecordTokenizer {
 public:
  struct Options {
    int64_t context_length = 0;  // Tokens of the longest example.
    LongPrompts long_prompts = LongPrompts::kReject;
    int64_t vocabulary_size = INT32_MAX;  // Tokens that the model knows.
  };

  // `tokenizer` must outlive this.
  RecordTokenizer(const Tokenizer& tokenizer, SpecialTokens special, Options options,
                  UsableChat chat = std::optional<ChatTemplate>());

  // With kTruncateLeft, tokens between the begin mark and the last answer are
  // left out from the left; an earlier answer that loses a token or all of its
  // prompt is no longer trained.
  //
  // INVALID_ARGUMENT: too long for the context (says how long); a conversation
  // whose chat template cannot be used (names its file), refuses it or leaves every
  // answer out; a token that the model does not know. Also the errors of Tokenizer::Encode and
  // ChatTemplate::Render. The message is the reason alone and quotes nothing of the record.
  absl::StatusOr<TokenizedRecord> Tokenize(const DatasetRecord& record) const;

  // Whether it is a conversation and the model has no chat template.
  bool IsPlainConversation(const DatasetRecord& record) const;

 private:
  absl::StatusOr<TokenizedRecord> TokenizePlain(const DatasetRecord& record) const;
  absl::StatusOr<TokenizedRecord> TokenizeChat(const ConversationRecord& record) const;
  absl::Status CheckTokens(const TokenizedRecord& record) const;
  absl::Status Fit(TokenizedRecord& record) const;

  const Tokenizer& tokenizer_;
  SpecialTokens special_;
  Options options_;
  UsableChat chat_;
};

}  // namespace fedtune
