// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>

#include "plan/plan.h"

namespace fedtune {

// Whether the clients of `round` (counted from 0) evaluate the adapter that it starts
// from, and the one that they train; in the round after the last they do nothing else.
// Each client goes by it: one that evaluated where the others do not would have the sums
// of an evaluation to itself.
inline bool Evaluates(const Plan& plan, int64_t round) {
  const int64_t every = plan.evaluation.every;
  return round == 0 || round == plan.rounds.count || (every > 0 && round % every == 0);
}

}  // namespace fedtune
