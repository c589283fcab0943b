// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/logging.h"
#include "base/progress.h"
#include "client/config.h"
#include "client/data/dataset.h"
#include "client/data/record_tokenizer.h"
#include "client/data/tokenized_record.h"
#include "client/round/study.h"
#include "model/tokenizer/tokenizer.h"
#include "plan/plan.h"

namespace fedtune {

// Called with each file's report; reports quote no record.
using ReportTaker =
    std::function<void(const std::filesystem::path& file, const DatasetReport& report)>;

// Reads data sets as one base model's tokens. Movable.
class RecordReader {
 public:
  // `plan` says how long a record may be, and whether a longer one is cut.
  //
  // NOT_FOUND, INVALID_ARGUMENT: the base model's tokenizer cannot be used, or no record
  // fits.
  static absl::StatusOr<RecordReader> Open(const std::filesystem::path& base_model,
                                           const TrainingPlan& plan);

  // Appends the file's records to `records`. Errors as ReadDataset().
  absl::StatusOr<DatasetReport> Read(const std::filesystem::path& file,
                                     std::vector<TokenizedRecord>& records,
                                     const ReadingObserver& observe = {}) const;

  // The same for people: with progress on stderr, and then the report.
  absl::Status ReadAndTell(const std::filesystem::path& file, const Clock& clock,
                           std::vector<TokenizedRecord>& records) const;

 private:
  RecordReader(std::unique_ptr<Tokenizer> tokenizer, RecordTokenizer record_tokenizer)
      : tokenizer_(std::move(tokenizer)), record_tokenizer_(std::move(record_tokenizer)) {}

  std::unique_ptr<Tokenizer> tokenizer_;  // In place: record_tokenizer_ refers to it.
  RecordTokenizer record_tokenizer_;
};

// Reads all of an institution's data sets, one after the other.
RecordLoader LoaderOf(std::vector<DatasetConfig> datasets, ReportTaker take_report,
                      ObserverOfFile observer_of);

// Shows on `line` how far a file is read.
ReadingObserver ShowOn(ProgressLine& line);

// Shows on `line` how many records are evaluated.
void ShowEvaluated(ProgressLine& line, int64_t done, int64_t count);

// Logs it, once the file has taken two seconds.
ReadingObserver LogReading(const std::filesystem::path& file, const Clock& clock, Log& log);

// The same of a base model, which is read for its digest.
std::function<void(double fraction)> LogModelReading(const std::filesystem::path& directory,
                                                     const Clock& clock, Log& log);

}  // namespace fedtune
