// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "client/data/dataset.h"
#include "client/data/tokenized_record.h"
#include "model/tokenizer/special_tokens.h"
#include "model/tokenizer/tokenizer.h"

namespace fedtune {

// What is done with a record that is longer than the context because its prompt
// is. Nothing is ever cut unless the plan says so.
enum class LongPrompts { kReject, kTruncateLeft };

// Turns records into training examples of one model: the text of RenderPlain(),
// each segment tokenized by itself, after the model's begin mark and with its
// end mark after every answer, where it has them. Trained are the tokens of the
// answers and their end marks. Thread-safe.
class RecordTokenizer {
 public:
  struct Options {
    int64_t context_length = 0;  // Tokens of the longest example.
    LongPrompts long_prompts = LongPrompts::kReject;
  };

  // `tokenizer` must outlive this.
  RecordTokenizer(const Tokenizer& tokenizer, SpecialTokens special, Options options);

  // With kTruncateLeft, tokens between the begin mark and the last answer are
  // left out from the left; an earlier answer that loses a token or all of its
  // prompt is no longer trained.
  //
  // INVALID_ARGUMENT: too long for the context (says how long). Also the errors
  // of Tokenizer::Encode. The message is the reason alone and quotes nothing.
  absl::StatusOr<TokenizedRecord> Tokenize(const DatasetRecord& record) const;

 private:
  bool BeginsWithMark() const;
  absl::Status Fit(TokenizedRecord& record) const;

  const Tokenizer& tokenizer_;
  SpecialTokens special_;
  Options options_;
};

}  // namespace fedtune
