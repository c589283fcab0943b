// SPDX-License-Identifier: Apache-2.0

#include "client/data/record_tokenizer.h"

#include <algorithm>
#include <string>
#include <utility>
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

std::string Digits(size_t count) { return GroupDigits(count); }

}  // namespace

RecordTokenizer::RecordTokenizer(const Tokenizer& tokenizer, SpecialTokens special, Options options)
    : tokenizer_(tokenizer), special_(special), options_(options) {
  Check(options.context_length >= 2, "no example fits into the context");
}

absl::StatusOr<TokenizedRecord> RecordTokenizer::Tokenize(const DatasetRecord& record) const {
  TokenizedRecord result;
  if (BeginsWithMark()) Append(result, *special_.bos, false);
  for (const PromptSegment& segment : RenderPlain(record)) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> ids, tokenizer_.Encode(segment.text));
    for (const int32_t id : ids) Append(result, id, segment.is_answer);
    if (segment.is_answer && special_.eos.has_value()) Append(result, *special_.eos, true);
  }
  RETURN_IF_ERROR(Fit(result));
  return result;
}

absl::Status RecordTokenizer::Fit(TokenizedRecord& record) const {
  const auto context = static_cast<size_t>(options_.context_length);
  const size_t size = record.tokens.size();
  if (size <= context) return absl::OkStatus();
  const size_t kept = BeginsWithMark() ? 1 : 0;
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

bool RecordTokenizer::BeginsWithMark() const {
  return special_.bos.has_value() && special_.add_bos;
}

}  // namespace fedtune
