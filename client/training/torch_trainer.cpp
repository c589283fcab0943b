// SPDX-License-Identifier: Apache-2.0

#include "client/training/torch_trainer.h"

#include <utility>

#include "ATen/Parallel.h"
#include "base/status_macros.h"
#include "client/training/evaluation.h"
#include "client/training/local_training.h"
#include "client/training/torch_errors.h"
#include "client/training/torch_model.h"

namespace fedtune {
namespace {

class TorchTrainer final : public Trainer {
 public:
  TorchTrainer(Model model, int threads) : model_(std::move(model)), threads_(threads) {}

  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest& request,
                                        const TrainingObserver& observer) override {
    return CatchingTorch([&] {
      at::set_num_threads(threads_);
      return TrainLocally(model_, request, observer);
    });
  }

  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest& request,
                                      const EvaluationObserver& observer) override {
    return CatchingTorch([&] {
      at::set_num_threads(threads_);
      return EvaluateAdapter(model_, request, observer);
    });
  }

 private:
  const Model model_;
  const int threads_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> OpenTorchTrainer(const TorchTrainerOptions& options) {
  return CatchingTorch([&]() -> absl::StatusOr<std::unique_ptr<Trainer>> {
    ASSIGN_OR_RETURN(TorchModel opened, OpenTorchModel(options));
    return std::make_unique<TorchTrainer>(std::move(opened.model), opened.threads);
  });
}

}  // namespace fedtune
