// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/mean_source.h"
#include "aggregation/server_optimizer.h"

namespace fedtune {

// Makes the global adapter after a round, with what its optimiser remembers of how it
// came to be: a pure function of those before the round, the round's mean and the plan's
// rule, so anyone who has these can recompute it bit for bit.
//
// With the rule `average`, rate 1 and one client the result is what that client
// trained, within the step of the mean and one rounding to fp32. With a
// common A, averaging B is exact for the dense change: the mean of scale B_k A
// is scale mean(B_k) A; the same for a common B. With both factors trained it
// is not (it lacks the covariance of A and B).
//
// Requires: `values` fit the layout, and `head` is that after this round.
//
// INVALID_ARGUMENT: the new adapter has a value that is not finite (named): the server's
// learning rate is too high. Other errors: of `mean` and of `values`. What was stored is
// then good for nothing.
absl::Status MakeNextAdapter(const AdapterLayout& layout, const MeanSource& mean,
                             const ServerStep& step, const OptimizerStateHead& head,
                             SteppedValues& values);

}  // namespace fedtune
