// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "client/training/trainer.h"

namespace fedtune::simulation {

// A trainer without a base model. Its adapters are a pure function of the client, the
// incoming adapter and the seed: each goes a part of the way to one goal that all
// clients share, with noise of its own, so that the loss, the mean square distance to
// the goal, falls as it does in a run that goes well.
class SyntheticTrainer final : public Trainer {
 public:
  // `counters`: of the routed experts of all layers together.
  SyntheticTrainer(uint64_t seed, int64_t client, int64_t counters)
      : seed_(seed), client_(client), counters_(counters) {}

  absl::StatusOr<TrainingOutcome> Train(const TrainingRequest& request,
                                        const TrainingObserver& observer) override;
  absl::StatusOr<Evaluation> Evaluate(const EvaluationRequest& request,
                                      const EvaluationObserver& observer) override;

 private:
  const uint64_t seed_;
  const int64_t client_;
  const int64_t counters_;
};

}  // namespace fedtune::simulation
