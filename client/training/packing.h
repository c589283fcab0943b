// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "client/data/tokenized_record.h"
#include "model/checkpoint/model_config.h"
#include "model/transformer/loss.h"
#include "model/transformer/packed_batch.h"

namespace fedtune {

// INVALID_ARGUMENT: `record` has no target, its first token is one, its two
// vectors differ in length, a token is not in the vocabulary, or there are more
// tokens than the model's context.
absl::Status CheckRecord(const TokenizedRecord& record, const ModelConfig& config);

// The index of the first target of a record that passed the check.
size_t FirstTarget(const TokenizedRecord& record);

// Checked records in one batch, and what is to be predicted of them.
struct PackedRecords {
  PackedBatch batch;
  std::vector<int64_t> wanted_rows;  // Of the batch: where something is predicted.
  Predictions predictions;           // From the hidden states of wanted_rows.
  std::vector<int64_t> answers;      // To which answer each prediction belongs.
  int64_t answer_count = 0;

  // Adds a record, whose targets are one answer. Tokens behind the last target
  // are left out.
  void Add(const TokenizedRecord& record);

  // Adds a record's prompt, all before its first target, and each choice as an
  // answer to it. The prompt is there once for all of them.
  void AddChoices(const TokenizedRecord& record, std::span<const std::vector<int32_t>> choices);

 private:
  void Want(int64_t row);
  void Predict(int32_t token, int64_t answer);
};

}  // namespace fedtune
