// SPDX-License-Identifier: Apache-2.0

#include "client/commands/train.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <span>
#include <stop_token>
#include <utility>

#include "aggregation/adapter_init.h"
#include "base/files.h"
#include "base/json.h"
#include "base/number_checks.h"
#include "base/progress.h"
#include "base/status_macros.h"
#include "base/units.h"
#include "client/commands/device.h"
#include "client/commands/records.h"
#include "client/commands/stop_signals.h"
#include "client/config.h"
#include "client/data/batch_stream.h"
#include "client/round/answer_choices.h"
#include "client/round/memory_fit.h"
#include "client/round/training_schedule.h"
#include "fmt/format.h"
#include "model/checkpoint/base_model_description.h"
#include "model/checkpoint/peft_adapter.h"
#include "plan/adapter_targets.h"
#include "plan/plan_limits.h"

namespace fedtune {
namespace {

constexpr char kLocalInstitution[] = "local";

// The files of one training, as tokens.
struct Records {
  std::vector<TokenizedRecord> training;
  std::vector<TokenizedRecord> validation;
  std::vector<std::vector<int32_t>> choices;
};

absl::StatusOr<Records> ReadRecords(const TrainOptions& options, const Plan& plan,
                                    const Clock& clock) {
  ASSIGN_OR_RETURN(const RecordReader reader,
                   RecordReader::Open(options.model.base, plan.training));
  Records records;
  RETURN_IF_ERROR(reader.ReadAndTell(options.data, clock, records.training));
  if (!options.eval) return records;
  RETURN_IF_ERROR(reader.ReadAndTell(*options.eval, clock, records.validation));
  records.choices = AnswerChoices({records.training, records.validation});
  return records;
}

// One training from its records to its adapter.
class LocalTraining {
 public:
  LocalTraining(const Plan& plan, AdapterLayout layout, Records records, const Clock& clock)
      : plan_(plan), layout_(std::move(layout)), records_(std::move(records)), clock_(clock) {}

  // Before the first training; says on stderr how much memory it takes.
  absl::Status FitInto(const MemoryBudget& budget, const BaseModelDescription& model) {
    ASSIGN_OR_RETURN(
        const MemoryFit fit,
        FitIntoMemory(budget, {plan_, model, layout_, records_.training, records_.validation}));
    fmt::print(stderr, "memory: at most {}\n", Describe(fit));
    recomputed_layers_ = fit.recomputed_layers;
    return absl::OkStatus();
  }

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
      ShowEvaluated(progress, done, count);
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
        .max_gradient_norm = training.max_gradient_norm,
        .dropout = plan_.adapter.dropout,
        .dropout_seed = static_cast<uint64_t>(training.seed),
        .recomputed_layers = recomputed_layers_};
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
  int64_t recomputed_layers_ = 0;
  const StopSignals signals_;
};

struct Result {
  TrainingOutcome outcome;
  int64_t steps = 0;
  int64_t parameter_count = 0;
  double share_of_base = 0;
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
                                 {"share_of_base", result.share_of_base},
                                 {"steps", result.steps},
                                 {"training_loss", result.outcome.loss},
                                 {"tokens", result.outcome.token_count},
                                 {"seconds", result.outcome.seconds}};
  if (result.before) json["before"] = ToJson(*result.before);
  if (result.after) json["after"] = ToJson(*result.after);
  fmt::print("{}", JsonLine(json));
}

void PrintText(const Result& result, const std::filesystem::path& out) {
  fmt::print("trained {} parameters ({:.3f} % of the base), {} steps in {}, mean loss {:.4f}\n",
             HumanCount(static_cast<uint64_t>(result.parameter_count)), 100 * result.share_of_base,
             result.steps, HumanDuration(absl::Seconds(result.outcome.seconds)),
             result.outcome.loss);
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

template <typename T>
void OverrideList(const std::vector<T>& given, std::vector<T>& field) {
  if (!given.empty()) field = given;
}

// "q_proj=8" and so on, in the order given.
template <typename T>
absl::Status OverridePatterns(std::string_view flag, const std::vector<std::string>& given,
                              std::vector<std::pair<std::string, T>>& field) {
  if (!given.empty()) field.clear();
  for (const std::string& text : given) {
    const size_t sign = text.rfind('=');
    T value = 0;
    const char* end = text.data() + text.size();
    if (sign == 0 || sign == std::string::npos ||
        std::from_chars(text.data() + sign + 1, end, value).ptr != end || !(value > 0)) {
      return absl::InvalidArgumentError(fmt::format(
          "{} \"{}\": must be a pattern, \"=\" and a number above 0, as in q_proj=8", flag, text));
    }
    field.emplace_back(text.substr(0, sign), value);
  }
  return absl::OkStatus();
}

absl::Status OverrideAdapter(const TrainOptions& options, AdapterPlan& adapter) {
  Override(options.rank, adapter.rank);
  Override(options.alpha, adapter.alpha);
  Override(options.routed_rank, adapter.routed_rank);
  Override(options.dropout, adapter.dropout);
  OverrideList(options.targets, adapter.targets);
  OverrideList(options.routed_experts, adapter.routed_experts);
  OverrideList(options.routed_layers, adapter.routed_layers);
  if (options.rslora) adapter.rslora = true;
  RETURN_IF_ERROR(OverridePatterns("--rank-pattern", options.rank_pattern, adapter.rank_pattern));
  return OverridePatterns("--alpha-pattern", options.alpha_pattern, adapter.alpha_pattern);
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
  RETURN_IF_ERROR(OverrideAdapter(options, plan.adapter));
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
  if (options.memory_gb && !IsMemorySize(*options.memory_gb)) {
    return absl::InvalidArgumentError("--memory-gb must be above 0 and at most 1000000");
  }
  ASSIGN_OR_RETURN(const Plan plan, PlanOf(options));
  ASSIGN_OR_RETURN(const BaseModelDescription model, DescribeBaseModel(options.model.base));
  ASSIGN_OR_RETURN(AdapterLayout layout, ResolveTargets(model, plan.adapter));
  ASSIGN_OR_RETURN(Records records, ReadRecords(options, plan, clock));
  LocalTraining training(plan, std::move(layout), std::move(records), clock);
  ASSIGN_OR_RETURN(const TorchTrainerOptions opening,
                   OnChosenDevice(options.model, trainers.choose_device));
  RETURN_IF_ERROR(
      training.FitInto(BudgetOf(opening.device, options.recompute, options.memory_gb), model));
  ASSIGN_OR_RETURN(const std::unique_ptr<Trainer> trainer, OpenTrainer(opening, trainers));

  const std::vector<float> start =
      InitialAdapter(training.layout(), static_cast<uint64_t>(plan.training.seed));
  Result result;
  result.steps = training.steps();
  result.parameter_count = training.layout().parameter_count();
  result.share_of_base = static_cast<double>(result.parameter_count) /
                         static_cast<double>(std::max<int64_t>(1, model.parameter_count));
  ASSIGN_OR_RETURN(result.before, training.Evaluate(*trainer, start));
  ASSIGN_OR_RETURN(result.outcome, training.Train(*trainer, start));
  ASSIGN_OR_RETURN(result.after, training.Evaluate(*trainer, result.outcome.adapter));
  RETURN_IF_ERROR(WritePeftAdapter(
      options.out, training.layout(), result.outcome.adapter, model.name,
      {.experts = options.fused_experts ? PeftExperts::kFused : PeftExperts::kSingle,
       .rslora = plan.adapter.rslora,
       .expert_count = model.routed_expert_count}));
  options.json ? PrintJson(result, options.out) : PrintText(result, options.out);
  return absl::OkStatus();
}

namespace {

// What LoRA is beyond rank, alpha and targets.
void AddLoraFlags(CLI::App& command, TrainOptions& options) {
  command
      .add_option("--rank-pattern", options.rank_pattern,
                  "Ranks of single layers, as in peft: q_proj=8,o_proj=4")
      ->delimiter(',');
  command
      .add_option("--alpha-pattern", options.alpha_pattern, "Alphas of single layers: q_proj=16")
      ->delimiter(',');
  command.add_option("--routed-rank", options.routed_rank, "LoRA rank of routed experts")
      ->check(WholeNumber(1, kMaxRank));
  command
      .add_option("--routed-experts", options.routed_experts,
                  "Numbers of the routed experts to train (all)")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber);
  command
      .add_option("--routed-layers", options.routed_layers,
                  "Numbers of the layers whose routed experts to train (all)")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--rslora", options.rslora, "Scale alpha / sqrt(rank), not alpha / rank");
  command.add_flag("--fused-experts", options.fused_experts,
                   "Store factors of routed experts as peft trains them, and not one by one");
  command.add_option("--dropout", options.dropout, "Share of the factors' inputs to drop (0)")
      ->check(NumberFrom(0, 0.99));
}

}  // namespace

void AddTrainFlags(CLI::App& command, TrainOptions& options) {
  AddModelFlags(command, options.model);
  command.add_option("--data", options.data, "Records in JSON lines")->required();
  command.add_option("--eval", options.eval, "Records to evaluate on before and after");
  command.add_option("--out", options.out, "Folder for the adapter")->required();
  command.add_option("--plan", options.plan,
                     "plan.toml: the steps of all its rounds are made here");
  command.add_option("--rank", options.rank, "LoRA rank (16)")->check(WholeNumber(1, kMaxRank));
  command.add_option("--alpha", options.alpha, "LoRA alpha (32)")->check(PositiveNumber(kMaxAlpha));
  command
      .add_option("--targets", options.targets,
                  "Groups or layer names (attention,shared_experts,dense_mlp)")
      ->delimiter(',');
  AddLoraFlags(command, options);
  command.add_option("--steps", options.steps, "Optimiser steps")->check(WholeNumber(1, kMaxSteps));
  command.add_option("--epochs", options.epochs, "Instead of steps (1)")
      ->check(WholeNumber(1, kMaxEpochs))
      ->excludes("--steps");
  command.add_option("--batch-size", options.batch_size, "Records a step (8)")
      ->check(WholeNumber(1, kMaxBatchSize));
  command.add_option("--learning-rate", options.learning_rate, "Of the local optimiser (2e-4)")
      ->check(PositiveNumber(kMaxLearningRate));
  command.add_option("--warmup", options.warmup, "Share of the steps (0)")->check(NumberFrom(0, 1));
  command.add_option("--schedule", options.schedule, "constant or cosine")
      ->check(CLI::IsMember({"constant", "cosine"}));
  command.add_option("--optimizer", options.optimizer, "adamw or sgd")
      ->check(CLI::IsMember({"adamw", "sgd"}));
  command
      .add_option("--sequence-length", options.sequence_length,
                  "Tokens; longer records are rejected (512)")
      ->check(WholeNumber(kMinSequenceLength, kMaxSequenceLength));
  command.add_option("--seed", options.seed, "Of the first adapter and the order (0)")
      ->check(Seed());
  command
      .add_option_function<std::string>(
          "--recompute",
          [&options](const std::string& name) { options.recompute = *RecomputeFromName(name); },
          kRecomputeHelp)
      ->check(CLI::IsMember({"auto", "never", "always"}));
  command.add_option("--memory-gb", options.memory_gb, kMemoryHelp);
  command.add_flag("--json", options.json, "One JSON object");
}

}  // namespace fedtune
