// SPDX-License-Identifier: Apache-2.0

#include "client/training/torch_trainer.h"

#include <thread>
#include <utility>

#include "ATen/Parallel.h"
#include "base/status_macros.h"
#include "c10/core/Device.h"
#include "client/training/evaluation.h"
#include "client/training/local_training.h"
#include "client/training/torch_errors.h"
#include "model/transformer/load_model.h"

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

int CountThreads(int wanted) {
  return wanted > 0 ? wanted : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> OpenTorchTrainer(const TorchTrainerOptions& options) {
  return CatchingTorch([&]() -> absl::StatusOr<std::unique_ptr<Trainer>> {
    const int threads = CountThreads(options.threads);
    at::set_num_threads(threads);
    ASSIGN_OR_RETURN(Model model,
                     LoadModel(options.model_directory, at::Device(options.device.kind())));
    return std::make_unique<TorchTrainer>(std::move(model), threads);
  });
}

}  // namespace fedtune
