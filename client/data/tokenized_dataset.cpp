// SPDX-License-Identifier: Apache-2.0

#include "client/data/tokenized_dataset.h"

#include <utility>

#include "base/status_macros.h"

namespace fedtune {

absl::StatusOr<TokenizedDataset> LoadTokenizedDataset(const std::filesystem::path& path,
                                                      const RecordTokenizer& tokenizer,
                                                      const ReadingObserver& observe) {
  TokenizedDataset dataset;
  const auto take = [&](const DatasetRecord& record) -> absl::Status {
    ASSIGN_OR_RETURN(TokenizedRecord tokenized, tokenizer.Tokenize(record));
    dataset.records.push_back(std::move(tokenized));
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(dataset.report, ReadDataset(path, take, observe));
  return dataset;
}

}  // namespace fedtune
