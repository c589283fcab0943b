// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "plan/plan.h"

namespace fedtune {

// Optimiser steps of one round on `record_count` records, at least 1: the
// plan's steps, or as many batches as its epochs need.
int64_t StepsPerRound(const TrainingPlan& plan, int64_t record_count);

// A step's place in the whole run.
struct StepPosition {
  int64_t round = 0;  // Of `rounds`, counted from 0.
  int64_t rounds = 1;
  int64_t step = 0;  // Of `steps` a round, counted from 0.
  int64_t steps = 1;
};

// The local learning rate: up in a line over the warm-up's share of the run,
// then constant or down to 0 along a half cosine. It is taken at the middle of
// the step, so it is never 0. Pure.
double LocalLearningRate(const TrainingPlan& plan, const StepPosition& position);

}  // namespace fedtune
