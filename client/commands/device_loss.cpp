// SPDX-License-Identifier: Apache-2.0

#include "client/commands/device_loss.h"

#include <utility>

namespace fedtune {
namespace {

void EndIfLost(const absl::Status& status, ClientEnd& end) {
  if (absl::IsAborted(status)) end.Fail(status);
}

class EndingTrainer final : public Trainer {
 public:
  EndingTrainer(std::unique_ptr<Trainer> trainer, ClientEnd& end)
      : trainer_(std::move(trainer)), end_(end) {}

  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest& request,
                                        const TrainingObserver& observer) override {
    auto outcome = trainer_->Train(request, observer);
    EndIfLost(outcome.status(), end_);
    return outcome;
  }

  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest& request,
                                      const EvaluationObserver& observer) override {
    auto evaluation = trainer_->Evaluate(request, observer);
    EndIfLost(evaluation.status(), end_);
    return evaluation;
  }

 private:
  const std::unique_ptr<Trainer> trainer_;
  ClientEnd& end_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> EndingWithDevice(
    absl::StatusOr<std::unique_ptr<Trainer>> opened, ClientEnd& end) {
  EndIfLost(opened.status(), end);
  if (!opened.ok()) return opened;
  return std::make_unique<EndingTrainer>(*std::move(opened), end);
}

}  // namespace fedtune
