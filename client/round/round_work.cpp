// SPDX-License-Identifier: Apache-2.0

#include "client/round/round_work.h"

#include <utility>

#include "aggregation/adapter_bytes.h"
#include "base/status_macros.h"
#include "client/round/training_schedule.h"
#include "fmt/format.h"

namespace fedtune {
namespace {

double Share(int64_t done, int64_t count) {
  return count > 0 ? static_cast<double>(done) / static_cast<double>(count) : 1;
}

}  // namespace

RoundWork::RoundWork(const Assignment& assignment, const RunMaterial& material, Tools tools)
    : assignment_(assignment), material_(material), tools_(tools) {}

absl::StatusOr<Contribution> RoundWork::Perform() {
  RETURN_IF_ERROR(Fetch());
  Contribution contribution{.id = assignment_.id,
                            .adapter = assignment_.adapter,
                            .layout = material_.layout_digest,
                            .factors = assignment_.factors,
                            .evaluate_only = assignment_.evaluate_only};
  LocalMetrics& metrics = contribution.metrics;
  if (assignment_.evaluate || assignment_.evaluate_only) {
    ASSIGN_OR_RETURN(metrics.before, Evaluate(tools_.fetched->values));
  }
  if (assignment_.evaluate_only) return contribution;
  RETURN_IF_ERROR(Train(contribution));
  if (assignment_.evaluate) {
    ASSIGN_OR_RETURN(metrics.after, Evaluate(trained_));
  }
  return contribution;
}

absl::Status RoundWork::Fetch() {
  if (tools_.fetched && tools_.fetched->digest == assignment_.adapter) return absl::OkStatus();
  Tell(WorkPhase::kDownloading, 0);
  const int64_t value_count = material_.layout.parameter_count();
  ASSIGN_OR_RETURN(
      const std::string bytes,
      tools_.link.FetchBlob(assignment_.adapter, sizeof(float) * static_cast<uint64_t>(value_count),
                            tools_.control.stop_token(), [this](uint64_t done, uint64_t size) {
                              Tell(WorkPhase::kDownloading,
                                   static_cast<double>(done) / static_cast<double>(size));
                            }));
  ASSIGN_OR_RETURN(std::vector<float> values,
                   ValuesFromBytes(bytes, value_count, "the global adapter"));
  RETURN_IF_ERROR(CheckFinite(material_.layout, FactorSet::kBoth, values, "the global adapter"));
  tools_.fetched = {.digest = assignment_.adapter, .values = std::move(values)};
  return absl::OkStatus();
}

absl::StatusOr<std::optional<LocalEvaluation>> RoundWork::Evaluate(std::span<const float> adapter) {
  if (material_.validation.empty()) return std::nullopt;
  const EvaluationRequest request{.layout = &material_.layout,
                                  .adapter = adapter,
                                  .records = material_.validation,
                                  .choices = material_.choices};
  ASSIGN_OR_RETURN(const Evaluation evaluation,
                   tools_.trainer.Evaluate(request, [this](int64_t done, int64_t count) {
                     Tell(WorkPhase::kEvaluating, Share(done, count));
                     return tools_.control.Proceed();
                   }));
  return LocalEvaluation{.loss = evaluation.loss,
                         .accuracy = evaluation.accuracy,
                         .example_count = evaluation.example_count};
}

absl::Status RoundWork::Train(Contribution& contribution) {
  const TrainingPlan& plan = material_.plan.training;
  const int64_t round = assignment_.id.round;
  const int64_t steps = StepsPerRound(plan, static_cast<int64_t>(material_.training.size()));
  const TrainingRequest request{
      .layout = &material_.layout,
      .adapter = tools_.fetched->values,
      .factors = assignment_.factors,
      .steps = steps,
      .batch = [&](int64_t step) { return BatchOf(round * steps + step); },
      .learning_rate =
          [&](int64_t step) {
            return LocalLearningRate(plan, {.round = round,
                                            .rounds = material_.plan.rounds.count,
                                            .step = step,
                                            .steps = steps});
          },
      .optimizer = plan.optimizer,
      .weight_decay = plan.weight_decay,
      .max_gradient_norm = plan.max_gradient_norm};
  ASSIGN_OR_RETURN(TrainingOutcome outcome,
                   tools_.trainer.Train(request, [this](const TrainingProgress& progress) {
                     Tell(WorkPhase::kTraining, Share(progress.step, progress.steps),
                          progress.tokens_per_second);
                     return tools_.control.Proceed();
                   }));
  if (std::ssize(outcome.routed_tokens) != material_.routing.counter_count()) {
    return absl::InternalError(
        fmt::format("training counted the tokens of {} routed experts, the "
                    "base model's description has {}",
                    outcome.routed_tokens.size(), material_.routing.counter_count()));
  }
  trained_ = std::move(outcome.adapter);
  contribution.delta = Delta(trained_);
  contribution.metrics.training_loss = outcome.loss;
  contribution.metrics.steps = steps;
  contribution.metrics.token_count = outcome.token_count;
  contribution.metrics.routed_tokens = std::move(outcome.routed_tokens);
  contribution.metrics.training_time = absl::Seconds(outcome.seconds);
  return absl::OkStatus();
}

Batch RoundWork::BatchOf(int64_t global_step) const {
  Batch batch;
  for (const int64_t index : material_.batch(global_step)) {
    batch.push_back(&material_.training[static_cast<size_t>(index)]);
  }
  return batch;
}

// Trained minus global, for the tensors of the round's factors in layout order.
std::vector<float> RoundWork::Delta(std::span<const float> trained) const {
  const std::vector<float>& global = tools_.fetched->values;
  std::vector<float> delta;
  delta.reserve(static_cast<size_t>(material_.layout.parameter_count(assignment_.factors)));
  for (const AdapterTensor& tensor : material_.layout.tensors()) {
    if (!Contains(assignment_.factors, tensor.factor)) continue;
    const auto end = static_cast<size_t>(tensor.offset + tensor.size());
    for (auto i = static_cast<size_t>(tensor.offset); i < end; ++i) {
      delta.push_back(trained[i] - global[i]);
    }
  }
  return delta;
}

void RoundWork::Tell(WorkPhase phase, double fraction, double tokens_per_second) const {
  tools_.observer({.id = assignment_.id,
                   .phase = phase,
                   .fraction = fraction,
                   .tokens_per_second = tokens_per_second});
}

}  // namespace fedtune
