// SPDX-License-Identifier: Apache-2.0

#include "simulation/synthetic_trainer.h"

#include <algorithm>
#include <bit>

#include "simulation/draws.h"

namespace fedtune::simulation {
namespace {

constexpr float kGoal = 0.02F;   // No value of the goal is larger.
constexpr float kStep = 0.25F;   // Of the way, a round.
constexpr float kNoise = 2e-3F;  // At most.

float Signed(uint64_t bits) {
  return (static_cast<float>(bits >> 40) * 0x1p-23F) - 1;  // From -1 to 1.
}

}  // namespace

absl::StatusOr<TrainingOutcome> SyntheticTrainer::Train(const TrainingRequest& request,
                                                        const TrainingObserver& observer) {
  TrainingOutcome outcome{.adapter = {request.adapter.begin(), request.adapter.end()},
                          .loss = 0,
                          .token_count = std::max(request.steps, counters_),
                          .answer_token_count = request.steps,
                          .routed_tokens = std::vector<int64_t>(static_cast<size_t>(counters_), 1),
                          .seconds = 0};
  Draws noise(seed_ ^ (static_cast<uint64_t>(client_) << 32));
  for (const AdapterTensor& tensor : request.layout->tensors()) {
    if (!Contains(request.factors, tensor.factor)) continue;
    const auto end = static_cast<size_t>(tensor.offset + tensor.size());
    for (auto i = static_cast<size_t>(tensor.offset); i < end; ++i) {
      const float away = kGoal * Signed(Draws(seed_ + i).Next()) - request.adapter[i];
      outcome.loss += static_cast<double>(away) * static_cast<double>(away);
      // The noise is another one for each incoming adapter.
      const uint64_t incoming = std::bit_cast<uint32_t>(request.adapter[i]);
      outcome.adapter[i] += kStep * away + kNoise * Signed(Draws(noise.Next() + incoming).Next());
    }
  }
  outcome.loss /= static_cast<double>(request.layout->parameter_count(request.factors));
  const TrainingProgress done{.step = request.steps, .steps = request.steps, .loss = outcome.loss};
  if (observer && !observer(done)) return absl::CancelledError("stopped");
  return outcome;
}

absl::StatusOr<Evaluation> SyntheticTrainer::Evaluate(const EvaluationRequest&,
                                                      const EvaluationObserver&) {
  return absl::FailedPreconditionError("a synthetic client has no validation split");
}

}  // namespace fedtune::simulation
