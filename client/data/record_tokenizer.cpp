// SPDX-License-Identifier: Apache-2.0

#include "client/data/record_tokenizer.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "client/data/prompt_template.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

void Append(TokenizedRecord& record, int32_t token, bool is_target) {
  record.tokens.push_back(token);
  record.is_target.push_back(is_target ? 1 : 0);
}

// The tokens from `first` on are targets.
void MarkTargets(TokenizedRecord& record, size_t first) {
  std::fill(record.is_target.begin() + static_cast<ptrdiff_t>(first), record.is_target.end(), 1);
}

// How many tokens at the end of the record are targets.
size_t LastAnswerLength(const TokenizedRecord& record) {
  const auto end = record.is_target.rbegin();
  return static_cast<size_t>(std::find(end, record.is_target.rend(), 0) - end);
}

// Removes `count` tokens from `first` on. An answer that then stands there has
// lost its beginning or its prompt, and is taken out of the targets.
void Cut(TokenizedRecord& record, size_t first, size_t count) {
  const auto begin = static_cast<ptrdiff_t>(first);
  const auto end = static_cast<ptrdiff_t>(first + count);
  record.tokens.erase(record.tokens.begin() + begin, record.tokens.begin() + end);
  record.is_target.erase(record.is_target.begin() + begin, record.is_target.begin() + end);
  for (size_t i = first; record.is_target[i] == 1; ++i) record.is_target[i] = 0;
}

// The turns to the last answer that is learnt: nothing is from others.
std::vector<ChatMessage> UpToLastAnswer(const ConversationRecord& record) {
  std::vector<ChatMessage> messages;
  size_t answered = 0;
  for (const Turn& turn : record.turns) {
    messages.push_back({turn.role, turn.content, turn.is_learnt, turn.name, turn.tool_call_id});
    if (turn.role == "assistant" && turn.is_learnt) answered = messages.size();
  }
  messages.resize(answered);
  return messages;
}

bool HasAnswer(const MarkedText& text, size_t begin, size_t end) {
  for (size_t at = begin; at < end; ++at) {
    if (text.IsAnswer(at)) return true;
  }
  return false;
}

bool IsWhiteSpace(std::string_view text) {
  return text.find_first_not_of(" \t\n\r\f\v") == std::string_view::npos;
}

void DropAfterLastTarget(TokenizedRecord& record) {
  while (!record.tokens.empty() && record.is_target.back() == 0) {
    record.tokens.pop_back();
    record.is_target.pop_back();
  }
}

std::string Digits(size_t count) { return GroupDigits(count); }

}  // namespace

RecordTokenizer::RecordTokenizer(const Tokenizer& tokenizer, SpecialTokens special, Options options,
                                 UsableChat chat)
    : tokenizer_(tokenizer), special_(special), options_(options), chat_(std::move(chat)) {
  Check(options.context_length >= 2, "no example fits into the context");
}

bool RecordTokenizer::IsPlainConversation(const DatasetRecord& record) const {
  return std::holds_alternative<ConversationRecord>(record) && chat_.ok() && !chat_->has_value();
}

absl::StatusOr<TokenizedRecord> RecordTokenizer::Tokenize(const DatasetRecord& record) const {
  const auto* const conversation = std::get_if<ConversationRecord>(&record);
  ASSIGN_OR_RETURN(TokenizedRecord result, conversation != nullptr && !IsPlainConversation(record)
                                               ? TokenizeChat(*conversation)
                                               : TokenizePlain(record));
  RETURN_IF_ERROR(CheckTokens(result));
  RETURN_IF_ERROR(Fit(result));
  return result;
}

absl::StatusOr<TokenizedRecord> RecordTokenizer::TokenizePlain(const DatasetRecord& record) const {
  TokenizedRecord result;
  if (special_.bos.has_value() && special_.add_bos) Append(result, *special_.bos, false);
  for (const PromptSegment& segment : RenderPlain(record)) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer_.Encode(segment.text));
    const bool is_target = segment.is_answer && segment.is_learnt;
    for (const int32_t id : ids) Append(result, id, is_target);
    if (segment.is_answer && special_.eos.has_value()) Append(result, *special_.eos, is_target);
  }
  DropAfterLastTarget(result);
  return result;
}

absl::StatusOr<TokenizedRecord> RecordTokenizer::TokenizeChat(
    const ConversationRecord& record) const {
  RETURN_IF_ERROR(chat_.status());
  ASSIGN_OR_RETURN(const MarkedText text, (*chat_)->Render(UpToLastAnswer(record), /*ask=*/false));
  ASSIGN_OR_RETURN(const Tokenizer::EncodedText encoded, tokenizer_.EncodeWithEnds(text.text()));
  TokenizedRecord result;
  size_t begin = 0;
  std::optional<size_t> behind_answer;  // While only white space has followed the answer.
  for (size_t i = 0; i < encoded.ids.size(); ++i) {
    const size_t size = encoded.ends[i] - begin;
    const bool is_answer = HasAnswer(text, begin, encoded.ends[i]);
    Append(result, encoded.ids[i], i > 0 && is_answer);
    if (is_answer) {
      behind_answer = i + 1;
    } else if (behind_answer && !IsWhiteSpace(std::string_view(text.text()).substr(begin, size))) {
      if (tokenizer_.IsAddedToken(encoded.ids[i])) MarkTargets(result, *behind_answer);
      behind_answer.reset();
    }
    begin = encoded.ends[i];
  }
  DropAfterLastTarget(result);
  if (!result.tokens.empty()) return result;
  return absl::InvalidArgumentError("the chat template leaves out every answer");
}

absl::Status RecordTokenizer::CheckTokens(const TokenizedRecord& record) const {
  const auto last = std::max_element(record.tokens.begin(), record.tokens.end());
  if (last == record.tokens.end() || *last < options_.vocabulary_size) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("has token {}, but the model's vocabulary ends at {}; is the tokenizer another "
                  "model's?",
                  *last, options_.vocabulary_size - 1));
}

absl::Status RecordTokenizer::Fit(TokenizedRecord& record) const {
  const auto context = static_cast<size_t>(options_.context_length);
  const size_t size = record.tokens.size();
  if (size <= context) return absl::OkStatus();
  const size_t kept = special_.bos == record.tokens.front() ? 1 : 0;
  const size_t answer = LastAnswerLength(record);
  if (kept + 1 + answer > context) {
    return absl::InvalidArgumentError(fmt::format(
        "the answer has {} tokens, which leaves no room for a prompt in a context of {}",
        Digits(answer), Digits(context)));
  }
  if (options_.long_prompts == LongPrompts::kReject) {
    return absl::InvalidArgumentError(
        fmt::format("{} tokens, but the context has {}", Digits(size), Digits(context)));
  }
  Cut(record, kept, size - context);
  return absl::OkStatus();
}

}  // namespace fedtune
