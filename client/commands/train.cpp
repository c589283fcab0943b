// SPDX-License-Identifier: Apache-2.0

#include "client/commands/train.h"

#include <memory>
#include <span>
#include <stop_token>
#include <utility>

#include "aggregation/adapter_init.h"
#include "base/files.h"
#include "base/progress.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "client/commands/json_line.h"
#include "client/commands/records.h"
#include "client/commands/stop_signals.h"
#include "client/data/batch_stream.h"
#include "client/round/answer_choices.h"
#include "client/round/training_schedule.h"
#include "fmt/format.h"
#include "model/checkpoint/base_model_description.h"
#include "model/checkpoint/peft_adapter.h"
#include "plan/adapter_targets.h"

namespace fedtune {
namespace {

constexpr char kLocalInstitution[] = "local";

// The files of one training, as tokens.
struct Records {
  std::vector<TokenizedRecord> training;
  std::vector<TokenizedRecord> validation;
  std::vector<std::vector<int32_t>> choices;
};

absl::StatusOr<Records> ReadRecords(const TrainOptions& options, const Plan& plan) {
  ASSIGN_OR_RETURN(const RecordReader reader,
                   RecordReader::Open(options.model.base, plan.training));
  Records records;
  ASSIGN_OR_RETURN(const DatasetReport training, reader.Read(options.data, records.training));
  fmt::print(stderr, "{}\n", Describe(training, options.data.string()));
  if (!options.eval) return records;
  ASSIGN_OR_RETURN(const DatasetReport validation, reader.Read(*options.eval, records.validation));
  fmt::print(stderr, "{}\n", Describe(validation, options.eval->string()));
  records.choices = AnswerChoices({records.training, records.validation});
  return records;
}

// One training from its records to its adapter.
class LocalTraining {
 public:
  LocalTraining(const Plan& plan, AdapterLayout layout, Records records, const Clock& clock)
      : plan_(plan), layout_(std::move(layout)), records_(std::move(records)), clock_(clock) {}

  // Absent without records to evaluate on.
  absl::StatusOr<std::optional<Evaluation>> Evaluate(Trainer& trainer,
                                                     std::span<const float> adapter) const {
    if (records_.validation.empty()) return std::nullopt;
    ProgressLine progress("evaluating", clock_);
    const EvaluationRequest request{.layout = &layout_,
                                    .adapter = adapter,
                                    .records = records_.validation,
                                    .choices = records_.choices};
    return trainer.Evaluate(request, [&](int64_t done, int64_t count) {
      progress.Update(static_cast<double>(done) / static_cast<double>(count));
      return !signals_.token().stop_requested();
    });
  }

  absl::StatusOr<TrainingOutcome> Train(Trainer& trainer, std::span<const float> adapter) const {
    const TrainingPlan& training = plan_.training;
    BatchStream batches({.seed = static_cast<uint64_t>(training.seed),
                         .institution = kLocalInstitution,
                         .record_count = static_cast<int64_t>(records_.training.size()),
                         .batch_size = training.batch_size});
    ProgressLine progress("training", clock_);
    const TrainingRequest request{
        .layout = &layout_,
        .adapter = adapter,
        .factors = FactorSet::kBoth,
        .steps = steps(),
        .batch = [&](int64_t step) { return BatchOf(batches.Batch(step)); },
        .learning_rate =
            [&](int64_t step) {
              return LocalLearningRate(training, {.step = step, .steps = steps()});
            },
        .optimizer = training.optimizer,
        .weight_decay = training.weight_decay,
        .max_gradient_norm = training.max_gradient_norm};
    return trainer.Train(request, [&](const TrainingProgress& done) {
      progress.Update(
          static_cast<double>(done.step) / static_cast<double>(done.steps),
          fmt::format("step {}/{}, loss {:.3f}, {} tok/s", done.step, done.steps, done.loss,
                      GroupDigits(static_cast<uint64_t>(done.tokens_per_second))));
      return !signals_.token().stop_requested();
    });
  }

  int64_t steps() const {
    return plan_.rounds.count *
           StepsPerRound(plan_.training, static_cast<int64_t>(records_.training.size()));
  }
  const AdapterLayout& layout() const { return layout_; }

 private:
  Batch BatchOf(const std::vector<int64_t>& indices) const {
    Batch batch;
    for (const int64_t index : indices) {
      batch.push_back(&records_.training[static_cast<size_t>(index)]);
    }
    return batch;
  }

  const Plan& plan_;
  const AdapterLayout layout_;
  const Records records_;
  const Clock& clock_;
  const StopSignals signals_;
};

struct Result {
  TrainingOutcome outcome;
  int64_t steps = 0;
  int64_t parameter_count = 0;
  std::optional<Evaluation> before;
  std::optional<Evaluation> after;
};

nlohmann::ordered_json ToJson(const Evaluation& evaluation) {
  nlohmann::ordered_json json = {{"records", evaluation.example_count}, {"loss", evaluation.loss}};
  if (evaluation.accuracy) json["accuracy"] = *evaluation.accuracy;
  return json;
}

void PrintJson(const Result& result, const std::filesystem::path& out) {
  nlohmann::ordered_json json = {{"adapter", out.string()},
                                 {"parameters", result.parameter_count},
                                 {"steps", result.steps},
                                 {"training_loss", result.outcome.loss},
                                 {"tokens", result.outcome.token_count},
                                 {"seconds", result.outcome.seconds}};
  if (result.before) json["before"] = ToJson(*result.before);
  if (result.after) json["after"] = ToJson(*result.after);
  fmt::print("{}", JsonLine(json));
}

void PrintText(const Result& result, const std::filesystem::path& out) {
  fmt::print("trained {} parameters, {} steps in {}, mean loss {:.4f}\n",
             HumanCount(static_cast<uint64_t>(result.parameter_count)), result.steps,
             HumanDuration(absl::Seconds(result.outcome.seconds)), result.outcome.loss);
  if (result.before && result.after) {
    fmt::print("  loss       {:.4f} -> {:.4f}\n", result.before->loss, result.after->loss);
  }
  if (result.before && result.before->accuracy && result.after && result.after->accuracy) {
    fmt::print("  accuracy   {:.1f} % -> {:.1f} %\n", 100 * *result.before->accuracy,
               100 * *result.after->accuracy);
  }
  fmt::print("{} is ready:  PeftModel.from_pretrained(base, \"{}\")\n", out.string(), out.string());
}

template <typename T>
void Override(const std::optional<T>& given, T& field) {
  if (given) field = *given;
}

absl::Status CheckOutput(const std::filesystem::path& out) {
  std::error_code error;
  if (!std::filesystem::exists(out, error) || std::filesystem::is_empty(out, error)) {
    return absl::OkStatus();
  }
  return absl::AlreadyExistsError(
      fmt::format("{} is there and not empty; choose another --out", out.string()));
}

}  // namespace

absl::StatusOr<Plan> PlanOf(const TrainOptions& options) {
  Plan plan;
  plan.aggregation.mode = AggregationMode::kPlain;  // There is nobody to add to.
  plan.training.epochs = 1;
  plan.rounds.count = 1;
  if (options.plan) {
    ASSIGN_OR_RETURN(const std::string toml, ReadNamedFile(*options.plan));
    ASSIGN_OR_RETURN(plan, ParsePlan(toml, options.plan->string()));
  }
  Override(options.rank, plan.adapter.rank);
  Override(options.alpha, plan.adapter.alpha);
  if (!options.targets.empty()) plan.adapter.targets = options.targets;
  TrainingPlan& training = plan.training;
  if (options.steps || options.epochs) {
    plan.rounds.count = 1;
    training.steps = options.steps.value_or(0);
    training.epochs = options.epochs.value_or(0);
  }
  Override(options.batch_size, training.batch_size);
  Override(options.learning_rate, training.learning_rate);
  Override(options.warmup, training.warmup);
  Override(options.sequence_length, training.sequence_length);
  Override(options.seed, training.seed);
  if (options.schedule) {
    training.schedule =
        *options.schedule == "cosine" ? RateSchedule::kCosine : RateSchedule::kConstant;
  }
  if (options.optimizer) {
    training.optimizer =
        *options.optimizer == "sgd" ? LocalOptimizer::kSgd : LocalOptimizer::kAdamW;
  }
  return plan;
}

absl::Status TrainOnFile(const TrainOptions& options, const TrainerFactory& trainers,
                         const Clock& clock) {
  RETURN_IF_ERROR(CheckOutput(options.out));
  ASSIGN_OR_RETURN(const Plan plan, PlanOf(options));
  ASSIGN_OR_RETURN(const BaseModelDescription model, DescribeBaseModel(options.model.base));
  ASSIGN_OR_RETURN(AdapterLayout layout, ResolveTargets(model, plan.adapter));
  ASSIGN_OR_RETURN(Records records, ReadRecords(options, plan));
  const LocalTraining training(plan, std::move(layout), std::move(records), clock);
  ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer, OpenTrainer(options.model, trainers));

  const std::vector<float> start =
      InitialAdapter(training.layout(), static_cast<uint64_t>(plan.training.seed));
  Result result;
  result.steps = training.steps();
  result.parameter_count = training.layout().parameter_count();
  ASSIGN_OR_RETURN(result.before, training.Evaluate(*trainer, start));
  ASSIGN_OR_RETURN(result.outcome, training.Train(*trainer, start));
  ASSIGN_OR_RETURN(result.after, training.Evaluate(*trainer, result.outcome.adapter));
  RETURN_IF_ERROR(
      WritePeftAdapter(options.out, training.layout(), result.outcome.adapter, model.name));
  options.json ? PrintJson(result, options.out) : PrintText(result, options.out);
  return absl::OkStatus();
}

void AddTrainFlags(CLI::App& command, TrainOptions& options) {
  AddModelFlags(command, options.model);
  command.add_option("--data", options.data, "Records in JSON lines")->required();
  command.add_option("--eval", options.eval, "Records to evaluate on before and after");
  command.add_option("--out", options.out, "Folder for the adapter")->required();
  command.add_option("--plan", options.plan,
                     "plan.toml: the steps of all its rounds are made here");
  command.add_option("--rank", options.rank, "LoRA rank (16)")->check(CLI::PositiveNumber);
  command.add_option("--alpha", options.alpha, "LoRA alpha (32)")->check(CLI::PositiveNumber);
  command
      .add_option("--targets", options.targets,
                  "Groups or layer names (attention,shared_experts,dense_mlp)")
      ->delimiter(',');
  command.add_option("--steps", options.steps, "Optimiser steps")->check(CLI::PositiveNumber);
  command.add_option("--epochs", options.epochs, "Instead of steps (1)")
      ->check(CLI::PositiveNumber)
      ->excludes("--steps");
  command.add_option("--batch-size", options.batch_size, "Records a step (8)")
      ->check(CLI::PositiveNumber);
  command.add_option("--learning-rate", options.learning_rate, "Of the local optimiser (2e-4)")
      ->check(CLI::PositiveNumber);
  command.add_option("--warmup", options.warmup, "Share of the steps (0)")
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--schedule", options.schedule, "constant or cosine")
      ->check(CLI::IsMember({"constant", "cosine"}));
  command.add_option("--optimizer", options.optimizer, "adamw or sgd")
      ->check(CLI::IsMember({"adamw", "sgd"}));
  command
      .add_option("--sequence-length", options.sequence_length,
                  "Tokens; longer records are rejected (512)")
      ->check(CLI::PositiveNumber);
  command.add_option("--seed", options.seed, "Of the first adapter and the order (0)")
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--json", options.json, "One JSON object");
}

}  // namespace fedtune
