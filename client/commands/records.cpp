// SPDX-License-Identifier: Apache-2.0

#include "client/commands/records.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/status_macros.h"
#include "client/data/tokenized_dataset.h"
#include "client/round/answer_choices.h"
#include "model/tokenizer/special_tokens.h"

namespace fedtune {

absl::StatusOr<RecordReader> RecordReader::Open(const std::filesystem::path& base_model,
                                                const TrainingPlan& plan) {
  ASSIGN_OR_RETURN(Tokenizer loaded, Tokenizer::Load(base_model / "tokenizer.json"));
  auto tokenizer = std::make_unique<Tokenizer>(std::move(loaded));
  ASSIGN_OR_RETURN(const SpecialTokens special, LoadSpecialTokens(base_model, *tokenizer));
  RecordTokenizer record_tokenizer(
      *tokenizer, special,
      {.context_length = plan.sequence_length,
       .long_prompts = plan.truncate_prompts ? LongPrompts::kTruncateLeft : LongPrompts::kReject});
  return RecordReader(std::move(tokenizer), std::move(record_tokenizer));
}

absl::StatusOr<DatasetReport> RecordReader::Read(const std::filesystem::path& file,
                                                 std::vector<TokenizedRecord>& records) const {
  ASSIGN_OR_RETURN(TokenizedDataset dataset, LoadTokenizedDataset(file, record_tokenizer_));
  std::move(dataset.records.begin(), dataset.records.end(), std::back_inserter(records));
  return std::move(dataset.report);
}

RecordLoader LoaderOf(std::vector<DatasetConfig> datasets, ReportTaker take_report) {
  return [datasets = std::move(datasets), take_report = std::move(take_report)](
             const std::filesystem::path& base_model,
             const TrainingPlan& plan) -> absl::StatusOr<LocalRecords> {
    ASSIGN_OR_RETURN(const RecordReader reader, RecordReader::Open(base_model, plan));
    LocalRecords records;
    for (const DatasetConfig& dataset : datasets) {
      ASSIGN_OR_RETURN(const DatasetReport training, reader.Read(dataset.train, records.training));
      take_report(dataset.train, training);
      if (dataset.eval.empty()) continue;
      ASSIGN_OR_RETURN(const DatasetReport validation,
                       reader.Read(dataset.eval, records.validation));
      take_report(dataset.eval, validation);
    }
    records.choices = AnswerChoices({records.training, records.validation});
    return records;
  };
}

}  // namespace fedtune
