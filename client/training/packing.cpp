// SPDX-License-Identifier: Apache-2.0

#include "client/training/packing.h"

#include <algorithm>

#include "base/check.h"
#include "fmt/format.h"

namespace fedtune {

absl::Status CheckRecord(const TokenizedRecord& record, const ModelConfig& config) {
  const auto invalid = [](std::string_view what) {
    return absl::InvalidArgumentError(fmt::format("a record {}", what));
  };
  const size_t size = record.tokens.size();
  if (record.is_target.size() != size) {
    return invalid(
        fmt::format("has {} tokens but {} marks of targets", size, record.is_target.size()));
  }
  if (static_cast<int64_t>(size) > config.context_length) {
    return invalid(fmt::format("has {} tokens, more than the {} of the model's context", size,
                               config.context_length));
  }
  const auto known = [&](int32_t token) { return token >= 0 && token < config.vocabulary_size; };
  const auto unknown = std::find_if_not(record.tokens.begin(), record.tokens.end(), known);
  if (unknown != record.tokens.end()) {
    return invalid(fmt::format(
        "has token {}, but the vocabulary ends at {}; is the tokenizer another model's?", *unknown,
        config.vocabulary_size - 1));
  }
  const size_t first = FirstTarget(record);
  if (first == size) return invalid("has no target: there is nothing to learn from it");
  if (first == 0) return invalid("has its first token as a target, which nothing precedes");
  return absl::OkStatus();
}

size_t FirstTarget(const TokenizedRecord& record) {
  const auto found = std::find_if(record.is_target.begin(), record.is_target.end(),
                                  [](uint8_t mark) { return mark != 0; });
  return static_cast<size_t>(found - record.is_target.begin());
}

void PackedRecords::Want(int64_t row) { wanted_rows.push_back(row); }

void PackedRecords::Predict(int32_t token, int64_t answer) {
  predictions.rows.push_back(static_cast<int64_t>(wanted_rows.size()) - 1);
  predictions.tokens.push_back(token);
  answers.push_back(answer);
}

void PackedRecords::Add(const TokenizedRecord& record) {
  const int64_t answer = answer_count++;
  const int64_t begin = batch.rows();
  size_t used = 0;
  for (size_t i = FirstTarget(record); i < record.tokens.size(); ++i) {
    if (!record.is_target[i]) continue;
    Want(begin + static_cast<int64_t>(i) - 1);
    Predict(record.tokens[i], answer);
    used = i;
  }
  batch.Add(std::span(record.tokens).first(used));
}

void PackedRecords::AddChoices(const TokenizedRecord& record,
                               std::span<const std::vector<int32_t>> choices) {
  const int64_t first_answer = answer_count;
  answer_count += static_cast<int64_t>(choices.size());
  const int64_t prompt = batch.Add(std::span(record.tokens).first(FirstTarget(record)));
  Want(batch.rows() - 1);
  for (size_t i = 0; i < choices.size(); ++i) {
    Predict(choices[i].front(), first_answer + static_cast<int64_t>(i));
  }
  for (size_t i = 0; i < choices.size(); ++i) {
    const std::vector<int32_t>& choice = choices[i];
    if (choice.size() == 1) continue;
    const int64_t begin = batch.rows();
    batch.AddContinuation(prompt, std::span(choice).first(choice.size() - 1));
    for (size_t j = 1; j < choice.size(); ++j) {
      Want(begin + static_cast<int64_t>(j) - 1);
      Predict(choice[j], first_answer + static_cast<int64_t>(i));
    }
  }
}

}  // namespace fedtune
