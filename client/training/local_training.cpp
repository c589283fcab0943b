// SPDX-License-Identifier: Apache-2.0

#include "client/training/local_training.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "ATen/TensorOperators.h"
#include "ATen/core/Tensor.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "client/data/packed_rows.h"
#include "client/training/optimizer.h"
#include "client/training/packing.h"
#include "client/training/step_error.h"
#include "fmt/format.h"
#include "model/transformer/adapter.h"
#include "model/transformer/loss.h"

namespace fedtune {
namespace {

struct StepResult {
  double loss_sum = 0;
  int64_t tokens = 0;
  int64_t answer_tokens = 0;
};

absl::StatusOr<int64_t> CountAnswerTokens(const Batch& batch, const ModelConfig& config) {
  if (batch.empty()) return absl::InvalidArgumentError("a training step without records");
  int64_t count = 0;
  for (const TokenizedRecord* record : batch) {
    RETURN_IF_ERROR(CheckRecord(*record, config));
    count += std::count_if(record->is_target.begin(), record->is_target.end(),
                           [](uint8_t mark) { return mark != 0; });
  }
  return count;
}

std::vector<RecordRows> RowsOf(const Batch& batch) {
  std::vector<RecordRows> rows;
  for (const TokenizedRecord* record : batch) rows.push_back(RowsOf(*record));
  return rows;
}

absl::Status Cancelled() { return absl::CancelledError("the training was cancelled"); }

// Adds the gradients of the mean loss over the step's answer tokens, and counts
// the tokens of each routed expert.
absl::StatusOr<StepResult> Differentiate(const Model& model, Adapter& adapter,
                                         const TrainingRequest& request, const Batch& batch,
                                         const Dropout& dropout, std::span<int64_t> routed) {
  ASSIGN_OR_RETURN(const int64_t answer_tokens, CountAnswerTokens(batch, model.config));
  StepResult result;
  result.answer_tokens = answer_tokens;
  const std::vector<RecordRows> rows = RowsOf(batch);
  std::span<const TokenizedRecord* const> rest(batch);
  while (!rest.empty()) {
    if (request.goes_on && !request.goes_on()) return Cancelled();
    if (dropout) adapter.DropInputs(dropout.rate, SubKey(dropout.key, rest.size()));
    const size_t together = CountTogether(std::span(rows).last(rest.size()));
    PackedRecords packed;
    for (const TokenizedRecord* record : rest.first(together)) packed.Add(*record);
    rest = rest.subspan(together);
    const at::Tensor hidden = HiddenStates(model, adapter, packed.batch, packed.wanted_rows, routed,
                                           request.recomputed_layers);
    const at::Tensor loss =
        TokenLossSum(hidden, model.head, adapter.Of(model.head), packed.predictions.tokens);
    (loss / static_cast<double>(answer_tokens)).backward();
    result.loss_sum += loss.item<double>();
    result.tokens += packed.batch.rows();
  }
  return result;
}

absl::Status CheckLoss(double loss, int64_t step) {
  if (std::isfinite(loss)) return absl::OkStatus();
  return InStep(step + 1,
                absl::InternalError("the loss is not a finite number; try a lower learning rate"));
}

// Routed experts, of all layers.
size_t ExpertsOf(const Model& model) {
  return static_cast<size_t>(model.routed_layer_count() * model.config.moe.routed_expert_count);
}

absl::Status CheckRouted(const TrainingState& state, const Model& model) {
  if (state.routed_tokens.size() == ExpertsOf(model)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("it has the tokens of {} routed experts, the model has {}",
                  state.routed_tokens.size(), ExpertsOf(model)));
}

// One training, step after step.
class Training {
 public:
  Training(const Model& model, const TrainingRequest& request, Adapter adapter)
      : model_(model),
        request_(request),
        adapter_(std::move(adapter)),
        optimizer_({adapter_.trained_values(), adapter_.trained_gradients()},
                   {request.optimizer, request.weight_decay, request.max_gradient_norm}) {
    outcome_.routed_tokens.resize(ExpertsOf(model));
    if (request.resumed != nullptr) GoOnFrom(*request.resumed);
  }

  // Steps done.
  int64_t step() const { return step_; }

  absl::Status Step(const TrainingObserver& observer) {
    const Dropout dropout = {.rate = request_.dropout,
                             .key = SubKey(request_.dropout_seed, static_cast<uint64_t>(step_)),
                             .first_row = 0};
    ASSIGN_OR_RETURN(const StepResult result,
                     Differentiate(model_, adapter_, request_, request_.batch(step_), dropout,
                                   outcome_.routed_tokens));
    RETURN_IF_ERROR(CheckLoss(result.loss_sum, step_));
    optimizer_.Step(request_.learning_rate(step_));
    ++step_;
    loss_sum_ += result.loss_sum;
    outcome_.token_count += result.tokens;
    outcome_.answer_token_count += result.answer_tokens;
    if (request_.take_state) request_.take_state(step_, [this] { return State(); });
    if (!observer) return absl::OkStatus();
    const double mean = result.loss_sum / static_cast<double>(result.answer_tokens);
    const double speed = static_cast<double>(outcome_.token_count) / Seconds();
    if (observer({step_, request_.steps, mean, speed})) return absl::OkStatus();
    return Cancelled();
  }

  absl::StatusOr<TrainingOutcome> Finish() {
    outcome_.adapter = adapter_.Store();
    outcome_.loss = loss_sum_ / static_cast<double>(outcome_.answer_token_count);
    outcome_.seconds = Seconds();
    for (const float value : outcome_.adapter) {
      if (!std::isfinite(value)) {
        return absl::InternalError(
            "the trained adapter has values that are not finite numbers; try a lower learning "
            "rate");
      }
    }
    return std::move(outcome_);
  }

 private:
  void GoOnFrom(const TrainingState& state) {
    step_ = state.step;
    optimizer_.Resume(state.step, state.first_moment, state.second_moment);
    loss_sum_ = state.loss_sum;
    outcome_.token_count = state.token_count;
    outcome_.answer_token_count = state.answer_token_count;
    outcome_.routed_tokens = state.routed_tokens;
    earlier_seconds_ = state.seconds;
  }

  TrainingState State() const {
    Optimizer::Moments moments = optimizer_.StoreMoments();
    return {.step = step_,
            .adapter = adapter_.Store(),
            .first_moment = std::move(moments.first),
            .second_moment = std::move(moments.second),
            .loss_sum = loss_sum_,
            .token_count = outcome_.token_count,
            .answer_token_count = outcome_.answer_token_count,
            .seconds = Seconds(),
            .routed_tokens = outcome_.routed_tokens};
  }

  double Seconds() const {
    const auto now = std::chrono::steady_clock::now();
    return earlier_seconds_ + std::chrono::duration<double>(now - started_).count();
  }

  const Model& model_;
  const TrainingRequest& request_;
  Adapter adapter_;
  Optimizer optimizer_;
  TrainingOutcome outcome_;
  int64_t step_ = 0;
  double loss_sum_ = 0;
  double earlier_seconds_ = 0;  // Of what it goes on from.
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

}  // namespace

absl::StatusOr<TrainingOutcome> TrainLocally(const Model& model, const TrainingRequest& request,
                                             const TrainingObserver& observer) {
  Check(request.layout && request.batch && request.learning_rate, "an incomplete request");
  if (request.steps < 1) return absl::InvalidArgumentError("a training needs at least one step");
  if (request.resumed != nullptr) {
    RETURN_IF_ERROR(CheckState(*request.resumed, ShapeOf(request)));
    RETURN_IF_ERROR(CheckRouted(*request.resumed, model));
  }
  ASSIGN_OR_RETURN(Adapter adapter,
                   Adapter::Create(*request.layout, model.linear_layers, model.device()));
  RETURN_IF_ERROR(adapter.Load(request.resumed ? request.resumed->adapter : request.adapter));
  adapter.Train(request.factors);
  Training training(model, request, std::move(adapter));
  while (training.step() < request.steps) RETURN_IF_ERROR(training.Step(observer));
  return training.Finish();
}

}  // namespace fedtune
