// SPDX-License-Identifier: Apache-2.0

#include "client/commands/train.h"

#include <algorithm>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>
#include <utility>

#include "aggregation/adapter_init.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/status.h"
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
    ASSIGN_OR_RETURN(const MemoryFit fit,
                     FitIntoMemory(budget, {plan_, model, layout_, records_.training,
                                            records_.validation, kLocalInstitution}));
    fmt::print(stderr, "memory: at most {}\n", Describe(fit));
    recomputed_layers_ = fit.recomputed_layers;
    return absl::OkStatus();
  }

  // Absent without records to evaluate on.
  absl::StatusOr<std::optional<Evaluation>> Evaluate(Trainer& trainer, std::string_view when,
                                                     std::span<const float> adapter) const {
    if (records_.validation.empty()) return std::nullopt;
    ProgressLine progress("evaluating", clock_);
    const EvaluationRequest request{.layout = &layout_,
                                    .adapter = adapter,
                                    .records = records_.validation,
                                    .choices = records_.choices};
    const auto evaluation = trainer.Evaluate(request, [&](int64_t done, int64_t count) {
      ShowEvaluated(progress, done, count);
      return !signals_.token().stop_requested();
    });
    RETURN_IF_ERROR(Annotate(evaluation.status(), fmt::format("the evaluation {}", when)));
    return *evaluation;
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

absl::Status CheckOutput(const std::filesystem::path& out) {
  std::error_code error;
  if (!std::filesystem::exists(out, error) || std::filesystem::is_empty(out, error)) {
    return absl::OkStatus();
  }
  return absl::AlreadyExistsError(
      fmt::format("{} is there and not empty; choose another --out", out.string()));
}

}  // namespace

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
  ASSIGN_OR_RETURN(result.before, training.Evaluate(*trainer, "before training", start));
  ASSIGN_OR_RETURN(result.outcome, training.Train(*trainer, start));
  ASSIGN_OR_RETURN(result.after,
                   training.Evaluate(*trainer, "after training", result.outcome.adapter));
  RETURN_IF_ERROR(WritePeftAdapter(
      options.out, training.layout(), result.outcome.adapter, model.name,
      {.experts = options.fused_experts ? PeftExperts::kFused : PeftExperts::kSingle,
       .rslora = plan.adapter.rslora,
       .expert_count = model.routed_expert_count}));
  options.json ? PrintJson(result, options.out) : PrintText(result, options.out);
  return absl::OkStatus();
}

}  // namespace fedtune
