// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/data/tokenized_record.h"

namespace fedtune::bench {

// How many tokens a record has, and how many of them its prompt.
struct RecordLength {
  int64_t tokens = 0;
  int64_t prompt = 1;
};

// Those of a data set's records, in its order, with the tokenizer of a model's folder. Records
// that are longer than the context are left out. The errors of LoadTokenizedDataset().
absl::StatusOr<std::vector<RecordLength>> LengthsOf(const std::filesystem::path& data,
                                                    const std::filesystem::path& model,
                                                    int64_t context_length);

// Reads "[[tokens, prompt], ...]". INVALID_ARGUMENT: not that, or a record without a prompt or
// without an answer.
absl::StatusOr<std::vector<RecordLength>> ParseLengths(std::string_view json);

// Random tokens, always the same, of which all behind the prompts are to be predicted.
std::vector<TokenizedRecord> RandomRecords(std::span<const RecordLength> lengths,
                                           int64_t vocabulary);

// The records with longer prompts, so that in each batch all are as long as the longest.
std::vector<RecordLength> Padded(std::vector<RecordLength> lengths, int64_t batch_size);

}  // namespace fedtune::bench
