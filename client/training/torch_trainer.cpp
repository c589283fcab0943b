// SPDX-License-Identifier: Apache-2.0

#include "client/training/torch_trainer.h"

#include <utility>

#include "ATen/Parallel.h"
#include "absl/functional/function_ref.h"
#include "base/status_macros.h"
#include "client/training/evaluation.h"
#include "client/training/gpu.h"
#include "client/training/local_training.h"
#include "client/training/tensor_memory.h"
#include "client/training/torch_errors.h"
#include "client/training/torch_model.h"
#include "model/transformer/finite_weights.h"

namespace fedtune {
namespace {

absl::Status FailedOnGpu(const absl::Status& why, at::Device gpu) {
  return WithStateOfGpu(why, DescribeGpu(gpu.index()).status());
}

class TorchTrainer final : public Trainer {
 public:
  TorchTrainer(Model model, int threads) : model_(std::move(model)), threads_(threads) {}

  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest& request,
                                        const TrainingObserver& observer) override {
    return Run<TrainingOutcome>([&] { return TrainLocally(model_, request, observer); });
  }

  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest& request,
                                      const EvaluationObserver& observer) override {
    return Run<Evaluation>([&] { return EvaluateAdapter(model_, request, observer); });
  }

 private:
  // In this trainer's threads, once the weights are known to be finite. Between two such
  // works lie hours: none of the memory is kept.
  template <typename Result>
  absl::StatusOr<Result> Run(absl::FunctionRef<absl::StatusOr<Result>()> work) {
    auto result = CatchingTorch([&]() -> absl::StatusOr<Result> {
      at::set_num_threads(threads_);
      RETURN_IF_ERROR(CheckWeights());
      return work();
    });
    ReturnFreeMemory();
    if (model_.device().is_cpu()) return result;
    const absl::Status returned = ReturnFreeGpuMemory();
    if (result.ok() && returned.ok()) return result;
    return FailedOnGpu(result.ok() ? returned : result.status(), model_.device());
  }

  // Once: what was read from disk for it is used again at once.
  absl::Status CheckWeights() {
    if (!weights_are_checked_) RETURN_IF_ERROR(CheckFiniteWeights(model_));
    weights_are_checked_ = true;
    return absl::OkStatus();
  }

  const Model model_;
  const int threads_;
  bool weights_are_checked_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> OpenTorchTrainer(const TorchTrainerOptions& options) {
  auto trainer = CatchingTorch([&]() -> absl::StatusOr<std::unique_ptr<Trainer>> {
    ASSIGN_OR_RETURN(TorchModel opened, OpenTorchModel(options, ModelForm::kForCpuTraining));
    return std::make_unique<TorchTrainer>(std::move(opened.model), opened.threads);
  });
  if (trainer.ok() || !options.device.is_gpu()) return trainer;
  return FailedOnGpu(trainer.status(), at::Device(options.device.kind()));
}

}  // namespace fedtune
