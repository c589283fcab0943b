// SPDX-License-Identifier: Apache-2.0

#include "client/round/round_work.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "aggregation/adapter_bytes.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "client/round/training_schedule.h"
#include "fmt/format.h"
#include "privacy/crypto/sha256.h"

namespace fedtune {
namespace {

double Share(int64_t done, int64_t count) {
  return count > 0 ? static_cast<double>(done) / static_cast<double>(count) : 1;
}

// Another one for each institution and round, and the same for every attempt.
uint64_t DropoutSeed(const RunMaterial& material, int64_t round) {
  const Digest digest = Sha256Of(fmt::format("dropout {} {} {}", material.plan.training.seed, round,
                                             material.records_digest.ToString()));
  uint64_t seed = 0;
  for (size_t i = 0; i < sizeof(seed); ++i) {
    seed = seed << 8 | static_cast<uint64_t>(digest.bytes[i]);
  }
  return seed;
}

// Numbers of steps and of records give each other away, and so do steps and how long
// they take, or a rate and how long it holds.
WorkProgress WithoutCounts(WorkProgress progress) {
  if (progress.phase != WorkPhase::kDownloading) {
    constexpr double kParts = 4;
    progress.fraction = std::floor(progress.fraction * kParts) / kParts;
  }
  progress.tokens_per_second = 0;
  if (!progress.note.empty()) progress.note = "goes on from its checkpoint";
  return progress;
}

}  // namespace

RoundInputs InputsOf(const Assignment& assignment, const RunMaterial& material) {
  return {.run = assignment.id.run,
          .round = assignment.id.round,
          .adapter = assignment.adapter,
          .factors = assignment.factors,
          .evaluate = assignment.evaluate,
          .evaluate_only = assignment.evaluate_only,
          .plan = Sha256Of(material.plan_toml),
          .base_model = material.base_digest,
          .layout = material.layout_digest,
          .records = material.records_digest};
}

RoundWork::RoundWork(const Assignment& assignment, const RunMaterial& material, Tools tools)
    : assignment_(assignment),
      material_(material),
      tools_(tools),
      steps_(StepsPerRound(material.plan.training, std::ssize(material.training))),
      checkpoint_{.inputs = InputsOf(assignment, material)},
      timer_(tools.keeper ? tools.keeper->NewTimer() : CheckpointTimer()) {}

absl::StatusOr<RoundResult> RoundWork::Perform() {
  FindCheckpoint();
  RETURN_IF_ERROR(Fetch());
  RETURN_IF_ERROR(EvaluateBefore());
  RoundResult result{.inputs = checkpoint_.inputs};
  if (!assignment_.evaluate_only) RETURN_IF_ERROR(Train(result));
  result.metrics.before = checkpoint_.before;
  if (evaluates_after()) {
    ASSIGN_OR_RETURN(result.metrics.after, Evaluate("after training", trained_));
  }
  return result;
}

void RoundWork::FindCheckpoint() {
  if (tools_.keeper == nullptr) return;
  auto found = tools_.keeper->FindCheckpoint(
      checkpoint_.inputs,
      {material_.layout, assignment_.factors, material_.plan.training.optimizer, steps_});
  if (found) checkpoint_ = *std::move(found);
}

// Requires: a keeper; without one nothing is ever due.
void RoundWork::Keep(const RoundCheckpoint& checkpoint) {
  tools_.keeper->Keep(checkpoint);
  timer_.Kept();
}

bool RoundWork::evaluates_after() const {
  return assignment_.evaluate && !assignment_.evaluate_only && !material_.validation.empty();
}

absl::Status RoundWork::Fetch() {
  if (tools_.fetched && tools_.fetched->digest == assignment_.adapter) return absl::OkStatus();
  WantedAdapter wanted{.digest = assignment_.adapter,
                       .value_count = material_.layout.parameter_count()};
  // Rather than two of them at once.
  if (tools_.fetched) wanted.storage = std::move(tools_.fetched->values);
  tools_.fetched.reset();
  Tell(WorkPhase::kDownloading, 0);
  const TransferObserver tell = [this](uint64_t done, uint64_t size) {
    Tell(WorkPhase::kDownloading, static_cast<double>(done) / static_cast<double>(size));
  };
  ASSIGN_OR_RETURN(std::vector<float> values,
                   tools_.link.FetchAdapter(std::move(wanted), tools_.control.stop_token(), tell));
  RETURN_IF_ERROR(CheckFinite(material_.layout, FactorSet::kBoth, values, "the global adapter"));
  tools_.fetched = {.digest = assignment_.adapter, .values = std::move(values)};
  return absl::OkStatus();
}

absl::Status RoundWork::EvaluateBefore() {
  if (!assignment_.evaluate && !assignment_.evaluate_only) return absl::OkStatus();
  if (checkpoint_.before) return absl::OkStatus();
  const auto when = assignment_.evaluate_only ? "of the run's adapter" : "before training";
  ASSIGN_OR_RETURN(checkpoint_.before, Evaluate(when, tools_.fetched->values));
  if (!assignment_.evaluate_only && timer_.Due(longest_evaluation_)) Keep(checkpoint_);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<EvaluationResult>> RoundWork::Evaluate(
    std::string_view when, std::span<const float> adapter) {
  if (material_.validation.empty()) return std::nullopt;
  const EvaluationRequest request{.layout = &material_.layout,
                                  .adapter = adapter,
                                  .records = material_.validation,
                                  .choices = material_.choices};
  Tell(WorkPhase::kEvaluating, 0);
  timer_.Begin();
  const auto evaluation = tools_.trainer.Evaluate(request, [this](int64_t done, int64_t count) {
    Tell(WorkPhase::kEvaluating, Share(done, count));
    return tools_.control.Proceed();
  });
  RETURN_IF_ERROR(Annotate(evaluation.status(), fmt::format("the evaluation {}", when)));
  longest_evaluation_ = std::max(longest_evaluation_, timer_.End());
  return EvaluationResult{.loss = evaluation->loss,
                          .accuracy = evaluation->accuracy,
                          .example_count = evaluation->example_count};
}

TrainingRequest RoundWork::RequestFor(int64_t steps) {
  const TrainingPlan& plan = material_.plan.training;
  const int64_t round = assignment_.id.round;
  return {.layout = &material_.layout,
          .adapter = tools_.fetched->values,
          .factors = assignment_.factors,
          .steps = steps,
          .batch = [this, first = round * steps](int64_t step) { return BatchOf(first + step); },
          .learning_rate =
              [&plan, round, steps, rounds = material_.plan.rounds.count](int64_t step) {
                return LocalLearningRate(
                    plan, {.round = round, .rounds = rounds, .step = step, .steps = steps});
              },
          .optimizer = plan.optimizer,
          .weight_decay = plan.weight_decay,
          .max_gradient_norm = plan.max_gradient_norm,
          .dropout = material_.plan.adapter.dropout,
          .dropout_seed = DropoutSeed(material_, round),
          .recomputed_layers = material_.recomputed_layers,
          .resumed = checkpoint_.training ? &*checkpoint_.training : nullptr,
          .take_state = [this](int64_t step, const auto& state) { TakeState(step, state); },
          .goes_on = [this] { return WithinStep(); }};
}

absl::Status RoundWork::Train(RoundResult& result) {
  if (checkpoint_.training) {
    note_ = fmt::format("goes on at step {} of {}", checkpoint_.training->step, steps_);
  }
  Tell(WorkPhase::kTraining, checkpoint_.training ? Share(checkpoint_.training->step, steps_) : 0);
  timer_.Begin();
  ASSIGN_OR_RETURN(TrainingOutcome outcome,
                   tools_.trainer.Train(RequestFor(steps_), [this](const auto& progress) {
                     return AfterStep(progress);
                   }));
  if (std::ssize(outcome.routed_tokens) != material_.routing.counter_count()) {
    return absl::InternalError(
        fmt::format("training counted the tokens of {} routed experts, the "
                    "base model's description has {}",
                    outcome.routed_tokens.size(), material_.routing.counter_count()));
  }
  trained_ = std::move(outcome.adapter);
  result.delta = Delta(trained_);
  result.metrics.training_loss = outcome.loss;
  result.metrics.steps = steps_;
  result.metrics.token_count = outcome.token_count;
  result.metrics.routed_tokens = std::move(outcome.routed_tokens);
  result.metrics.training_time = absl::Seconds(outcome.seconds);
  return absl::OkStatus();
}

// The state after the last step is worth a checkpoint only if an evaluation follows.
void RoundWork::TakeState(int64_t step, const std::function<TrainingState()>& state) {
  longest_step_ = std::max(longest_step_, std::exchange(begun_step_, {}) + timer_.End());
  const bool is_last = step == steps_;
  if (is_last && !evaluates_after()) return;
  if (!timer_.Due(is_last ? longest_evaluation_ : longest_step_)) return;
  Keep({.inputs = checkpoint_.inputs, .before = checkpoint_.before, .training = state()});
}

// A step may take hours, and whoever stops or pauses the work is not to wait for its end.
bool RoundWork::WithinStep() {
  begun_step_ += timer_.End();
  const bool goes_on = tools_.control.Proceed();
  timer_.Begin();
  return goes_on;
}

bool RoundWork::AfterStep(const TrainingProgress& progress) {
  Tell(WorkPhase::kTraining, Share(progress.step, progress.steps), progress.tokens_per_second);
  const bool goes_on = tools_.control.Proceed();
  timer_.Begin();  // It may have stood still.
  return goes_on;
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

// What is not new is not told: how often it is would say what there are steps of.
void RoundWork::Tell(WorkPhase phase, double fraction, double tokens_per_second) {
  WorkProgress progress{.id = assignment_.id,
                        .phase = phase,
                        .fraction = fraction,
                        .tokens_per_second = tokens_per_second,
                        .note = phase == WorkPhase::kTraining ? note_ : ""};
  if (tools_.observe_here != nullptr && *tools_.observe_here) (*tools_.observe_here)(progress);
  if (!material_.tells_counts) progress = WithoutCounts(std::move(progress));
  if (progress == told_) return;
  told_ = progress;
  tools_.observer(progress);
}

}  // namespace fedtune
