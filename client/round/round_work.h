// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/round/checkpoint_timer.h"
#include "client/round/coordinator_link.h"
#include "client/round/messages.h"
#include "client/round/round_keeper.h"
#include "client/round/round_record.h"
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

// All that the work for an assignment depends on.
RoundInputs InputsOf(const Assignment& assignment, const RunMaterial& material);

// One assignment, from the adapter to its result:
//
//   download -> evaluate -> train -> evaluate
//
// Where the coordinator is not to know how many records there are, it is told of
// training and evaluation by the quarter and without a rate; the institution's own
// observer is told all.
//
// It goes on from the checkpoint that the keeper has of it and gives it new ones; an
// evaluation that was not finished begins anew. Use it once. Not thread-safe.
class RoundWork {
 public:
  struct Tools {
    Trainer& trainer;
    CoordinatorLink& link;
    WorkControl& control;
    const WorkObserver& observer;
    std::optional<FetchedAdapter>& fetched;      // May be empty; filled in.
    RoundKeeper* keeper = nullptr;               // Null: nothing is kept.
    const WorkObserver* observe_here = nullptr;  // The institution's own; null: nobody.
  };

  // All arguments must outlive the work.
  RoundWork(const Assignment& assignment, const RunMaterial& material, Tools tools);

  // CANCELLED: the control said so. Other errors are those of the link and of
  // the trainer; those of an evaluation say of which.
  absl::StatusOr<RoundResult> Perform();

 private:
  void FindCheckpoint();
  void Keep(const RoundCheckpoint& checkpoint);
  absl::Status Fetch();
  absl::Status EvaluateBefore();
  absl::StatusOr<std::optional<EvaluationResult>> Evaluate(std::string_view when,
                                                           std::span<const float> adapter);
  absl::Status Train(RoundResult& result);
  TrainingRequest RequestFor(int64_t steps);
  void TakeState(int64_t step, const std::function<TrainingState()>& state);
  bool WithinStep();
  bool AfterStep(const TrainingProgress& progress);
  Batch BatchOf(int64_t global_step) const;
  std::vector<float> Delta(std::span<const float> trained) const;
  void Tell(WorkPhase phase, double fraction, double tokens_per_second = 0);
  bool evaluates_after() const;

  const Assignment& assignment_;
  const RunMaterial& material_;
  const Tools tools_;
  const int64_t steps_;
  RoundCheckpoint checkpoint_;  // What it goes on from, then what it is at.
  std::string note_;            // Where it went on from, for the administrator.
  std::optional<WorkProgress> told_;

  CheckpointTimer timer_;
  absl::Duration begun_step_;  // Its parts until now.
  absl::Duration longest_step_;
  absl::Duration longest_evaluation_;
  std::vector<float> trained_;  // The whole adapter after Train().
};

}  // namespace fedtune
