// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "aggregation/server_optimizer.h"
#include "plan/plan.h"

namespace fedtune {

// The share of the learning rate at `position` of a run, from 0 to 1:
//
//   position < warmup    position / warmup, linearly from 0
//   constant             1
//   cosine               final_share + (1 - final_share) (1 + cos(pi q)) / 2,
//                        q = (position - warmup) / (1 - warmup)
//
// Requires: warmup in [0, 1).
double RateShare(RateSchedule schedule, double warmup, double final_share, double position);

// The server's rule in `round` (counted from 0), whose position is
// (round + 1/2) / count: no round has rate 0. Rates are rounded to fp32, so the
// last bits of a machine's cosine do not matter.
ServerStep ServerStepOf(const Plan& plan, int64_t round);

// The local learning rate at optimiser step `step` of `steps` in `round`:
// position (round + (step + 1/2) / steps) / count.
double LocalLearningRate(const Plan& plan, int64_t round, int64_t step, int64_t steps);

}  // namespace fedtune
