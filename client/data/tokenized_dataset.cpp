// SPDX-License-Identifier: Apache-2.0

#include "client/data/tokenized_dataset.h"

#include <utility>

#include "base/status_macros.h"

namespace fedtune {

absl::StatusOr<TokenizedDataset> LoadTokenizedDataset(const std::filesystem::path& path,
                                                      const RecordTokenizer& tokenizer,
                                                      const ReadingObserver& observe) {
  TokenizedDataset dataset;
  int64_t plain_conversations = 0;
  const auto take = [&](const DatasetRecord& record) -> absl::Status {
    ASSIGN_OR_RETURN(TokenizedRecord tokenized, tokenizer.Tokenize(record));
    // They stay for as long as the run, and there may be millions of them.
    tokenized.tokens.shrink_to_fit();
    tokenized.is_target.shrink_to_fit();
    dataset.records.push_back(std::move(tokenized));
    plain_conversations += tokenizer.IsPlainConversation(record) ? 1 : 0;
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(dataset.report, ReadDataset(path, take, observe));
  dataset.records.shrink_to_fit();
  dataset.report.plain_conversations = plain_conversations;
  return dataset;
}

}  // namespace fedtune
