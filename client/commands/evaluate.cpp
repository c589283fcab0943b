// SPDX-License-Identifier: Apache-2.0

#include "client/commands/evaluate.h"

#include <utility>
#include <vector>

#include "base/json.h"
#include "base/number_checks.h"
#include "base/progress.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "client/commands/records.h"
#include "client/commands/stop_signals.h"
#include "client/round/answer_choices.h"
#include "fmt/format.h"
#include "model/checkpoint/base_model_description.h"
#include "model/checkpoint/peft_adapter.h"
#include "plan/plan_limits.h"

namespace fedtune {
namespace {

absl::StatusOr<std::vector<TokenizedRecord>> ReadRecords(const EvaluateOptions& options,
                                                         const BaseModelDescription& model,
                                                         const Clock& clock) {
  TrainingPlan limits;
  limits.sequence_length =
      options.sequence_length > 0 ? options.sequence_length : model.context_length;
  ASSIGN_OR_RETURN(const RecordReader reader, RecordReader::Open(options.model.base, limits));
  std::vector<TokenizedRecord> records;
  RETURN_IF_ERROR(reader.ReadAndTell(options.data, clock, records));
  return records;
}

void Print(const Evaluation& evaluation, size_t choice_count, bool json) {
  if (json) {
    nlohmann::ordered_json object = {{"records", evaluation.example_count},
                                     {"answer_tokens", evaluation.answer_token_count},
                                     {"loss", evaluation.loss}};
    if (evaluation.accuracy) {
      object["accuracy"] = *evaluation.accuracy;
      object["choices"] = choice_count;
    }
    fmt::print("{}", JsonLine(object));
    return;
  }
  fmt::print("loss       {:.4f} over {} records\n", evaluation.loss,
             GroupDigits(static_cast<uint64_t>(evaluation.example_count)));
  if (!evaluation.accuracy) return;
  fmt::print("accuracy   {:.1f} % among {} answers\n", 100 * *evaluation.accuracy, choice_count);
}

}  // namespace

absl::Status EvaluateFile(const EvaluateOptions& options, const TrainerFactory& trainers,
                          const Clock& clock) {
  ASSIGN_OR_RETURN(const BaseModelDescription model, DescribeBaseModel(options.model.base));
  ASSIGN_OR_RETURN(const std::vector<TokenizedRecord> records, ReadRecords(options, model, clock));
  ASSIGN_OR_RETURN(const PeftAdapter adapter, ReadAdapter(options.adapter, options.model.base));
  const StopSignals signals;  // Until here they end it at once, however much is to be read.
  ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer, OpenTrainer(options.model, trainers));
  EvaluationRequest request{
      .layout = &adapter.layout, .adapter = adapter.values, .records = records, .choices = {}};
  if (options.choices == "from-data") request.choices = AnswerChoices({records});
  ProgressLine progress("evaluating", clock);
  const auto evaluation = trainer->Evaluate(request, [&](int64_t done, int64_t count) {
    ShowEvaluated(progress, done, count);
    return !signals.token().stop_requested();
  });
  RETURN_IF_ERROR(NamingOverflow(evaluation.status(), options.adapter, options.model.base));
  Print(*evaluation, request.choices.size(), options.json);
  return absl::OkStatus();
}

void AddEvaluateFlags(CLI::App& command, EvaluateOptions& options) {
  AddModelFlags(command, options.model);
  command.add_option("--adapter", options.adapter, "Folder of an adapter; none: the base alone");
  command.add_option("--data", options.data, "Records in JSON lines")->required();
  command
      .add_option(
          "--choices", options.choices,
          "from-data: accuracy among the file's answers, if there are at most 100 with 2048 "
          "tokens together; none")
      ->capture_default_str()
      ->check(CLI::IsMember({"from-data", "none"}));
  command
      .add_option("--sequence-length", options.sequence_length,
                  "Longest record in tokens; 0: the model's context")
      ->capture_default_str()
      ->check(WholeNumber(0, kMaxSequenceLength));
  command.add_flag("--json", options.json, "One JSON object");
}

}  // namespace fedtune
