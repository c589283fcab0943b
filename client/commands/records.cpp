// SPDX-License-Identifier: Apache-2.0

#include "client/commands/records.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "base/units.h"
#include "client/data/tokenized_dataset.h"
#include "client/round/answer_choices.h"
#include "fmt/format.h"
#include "model/checkpoint/model_config.h"
#include "model/tokenizer/special_tokens.h"
#include "plan/plan_limits.h"

namespace fedtune {
namespace {

std::string Percent(double fraction) { return fmt::format("{:.0f}%", 100 * fraction); }

}  // namespace

absl::StatusOr<RecordReader> RecordReader::Open(const std::filesystem::path& base_model,
                                                const TrainingPlan& plan) {
  ASSIGN_OR_RETURN(Tokenizer loaded, Tokenizer::Load(base_model / "tokenizer.json"));
  auto tokenizer = std::make_unique<Tokenizer>(std::move(loaded));
  ASSIGN_OR_RETURN(const SpecialTokens special, LoadSpecialTokens(base_model, *tokenizer));
  ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(base_model));
  const int64_t context = std::min(plan.sequence_length, config.context_length);
  if (context < kMinSequenceLength) {
    return absl::InvalidArgumentError(fmt::format(
        "records need {} tokens at least; the sequence length is {}, the context of {} {}",
        kMinSequenceLength, plan.sequence_length, base_model.string(), config.context_length));
  }
  RecordTokenizer record_tokenizer(
      *tokenizer, special,
      {.context_length = context,
       .long_prompts = plan.truncate_prompts ? LongPrompts::kTruncateLeft : LongPrompts::kReject,
       .vocabulary_size = config.vocabulary_size},
      ChatTemplate::Load(base_model));
  return RecordReader(std::move(tokenizer), std::move(record_tokenizer));
}

absl::StatusOr<DatasetReport> RecordReader::Read(const std::filesystem::path& file,
                                                 std::vector<TokenizedRecord>& records,
                                                 const ReadingObserver& observe) const {
  ASSIGN_OR_RETURN(TokenizedDataset dataset,
                   LoadTokenizedDataset(file, record_tokenizer_, observe));
  records.reserve(records.size() + dataset.records.size());  // And no more.
  std::move(dataset.records.begin(), dataset.records.end(), std::back_inserter(records));
  return std::move(dataset.report);
}

absl::Status RecordReader::ReadAndTell(const std::filesystem::path& file, const Clock& clock,
                                       std::vector<TokenizedRecord>& records) const {
  std::optional<ProgressLine> progress(std::in_place, "reading " + file.filename().string(), clock);
  ASSIGN_OR_RETURN(const DatasetReport report, Read(file, records, ShowOn(*progress)));
  progress.reset();
  fmt::print(stderr, "{}\n", Describe(report, file.string()));
  return absl::OkStatus();
}

RecordLoader LoaderOf(std::vector<DatasetConfig> datasets, ReportTaker take_report,
                      ObserverOfFile observer_of) {
  return [datasets = std::move(datasets), take_report = std::move(take_report),
          observer_of = std::move(observer_of)](
             const std::filesystem::path& base_model,
             const TrainingPlan& plan) -> absl::StatusOr<LocalRecords> {
    ASSIGN_OR_RETURN(const RecordReader reader, RecordReader::Open(base_model, plan));
    LocalRecords records;
    for (const DatasetConfig& dataset : datasets) {
      ASSIGN_OR_RETURN(const DatasetReport training,
                       reader.Read(dataset.train, records.training, observer_of(dataset.train)));
      take_report(dataset.train, training);
      if (dataset.eval.empty()) continue;
      ASSIGN_OR_RETURN(const DatasetReport validation,
                       reader.Read(dataset.eval, records.validation, observer_of(dataset.eval)));
      take_report(dataset.eval, validation);
    }
    records.choices = AnswerChoices({records.training, records.validation});
    return records;
  };
}

void ShowEvaluated(ProgressLine& line, int64_t done, int64_t count) {
  line.Update(static_cast<double>(done) / static_cast<double>(count),
              fmt::format("{} of {} records", GroupDigits(static_cast<uint64_t>(done)),
                          GroupDigits(static_cast<uint64_t>(count))));
}

ReadingObserver ShowOn(ProgressLine& line) {
  return [&line](double fraction, int64_t records) {
    line.Update(fraction, fmt::format("{} records", GroupDigits(static_cast<uint64_t>(records))));
  };
}

ReadingObserver LogReading(const std::filesystem::path& file, const Clock& clock, Log& log) {
  return [file, pace = ProgressPace(clock), &log](double fraction, int64_t records) mutable {
    if (!pace.IsDue()) return;
    const double rate = static_cast<double>(records) / absl::ToDoubleSeconds(pace.elapsed());
    log.Info("reading data set",
             {Field("file", file.string()), Field("done", Percent(fraction)),
              Field("records", records), Field("records_per_second", std::llround(rate))});
  };
}

std::function<void(double fraction)> LogModelReading(const std::filesystem::path& directory,
                                                     const Clock& clock, Log& log) {
  return [directory, pace = ProgressPace(clock), &log](double fraction) mutable {
    if (!pace.IsDue()) return;
    log.Info("reading base model",
             {Field("path", directory.string()), Field("done", Percent(fraction))});
  };
}

}  // namespace fedtune
