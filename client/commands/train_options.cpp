// SPDX-License-Identifier: Apache-2.0

#include "client/commands/train_options.h"

#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "base/number_checks.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "plan/plan_limits.h"

namespace fedtune {
namespace {

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
