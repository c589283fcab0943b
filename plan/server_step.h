// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "aggregation/server_optimizer.h"
#include "plan/plan.h"

namespace fedtune {

// The server's rule in `round` (counted from 0) of a run. Its learning rate is
// the plan's times a share, with p = (round + 1/2) / count:
//
//   p < warmup   p / warmup
//   constant     1
//   cosine       final_share + (1 - final_share) (1 + cos(pi q)) / 2,
//                q = (p - warmup) / (1 - warmup)
//
// Rounded to fp32, so the last bits of a machine's cosine do not matter.
ServerStep ServerStepOf(const Plan& plan, int64_t round);

}  // namespace fedtune
