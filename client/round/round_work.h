// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "client/round/run_material.h"
#include "client/round/work_control.h"
#include "client/round/workshop.h"
#include "client/training/trainer.h"

namespace fedtune {

// The last global adapter that was fetched: a round that is tried again does
// not fetch it again.
struct FetchedAdapter {
  Digest digest;
  std::vector<float> values;
};

// One assignment, from the adapter to the contribution:
//
//   download -> evaluate -> train -> evaluate
//
// Use it once. Not thread-safe.
class RoundWork {
 public:
  struct Tools {
    Trainer& trainer;
    CoordinatorLink& link;
    WorkControl& control;
    const WorkObserver& observer;
    std::optional<FetchedAdapter>& fetched;  // May be empty; filled in.
  };

  // All arguments must outlive the work.
  RoundWork(const Assignment& assignment, const RunMaterial& material, Tools tools);

  // CANCELLED: the control said so. Other errors are those of the link and of
  // the trainer.
  absl::StatusOr<Contribution> Perform();

 private:
  absl::Status Fetch();
  absl::StatusOr<std::optional<LocalEvaluation>> Evaluate(std::span<const float> adapter);
  absl::Status Train(Contribution& contribution);
  Batch BatchOf(int64_t global_step) const;
  std::vector<float> Delta(std::span<const float> trained) const;
  void Tell(WorkPhase phase, double fraction, double tokens_per_second = 0) const;

  const Assignment& assignment_;
  const RunMaterial& material_;
  const Tools tools_;
  std::vector<float> trained_;  // The whole adapter after Train().
};

}  // namespace fedtune
