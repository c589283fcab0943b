// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "client/data/dataset.h"
#include "client/data/record_tokenizer.h"
#include "client/data/tokenized_record.h"

namespace fedtune {

// The records of a data set that can be trained on, in the order of the file,
// and what became of the others.
struct TokenizedDataset {
  std::vector<TokenizedRecord> records;
  DatasetReport report;
};

// Reads and tokenizes a data set. Records that do not fit into the context are
// rejected like broken lines. Never holds the text of more than one record.
// Errors are those of ReadDataset().
absl::StatusOr<TokenizedDataset> LoadTokenizedDataset(const std::filesystem::path& path,
                                                      const RecordTokenizer& tokenizer,
                                                      const ReadingObserver& observe = {});

}  // namespace fedtune
