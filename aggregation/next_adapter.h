// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "aggregation/mean_source.h"
#include "aggregation/server_optimizer.h"

namespace fedtune {

// A global adapter together with what its optimiser remembers of how it came to
// be. All values, in layout order.
struct OptimizedAdapter {
  std::vector<float> values;
  ServerOptimizerState state = {};
};

// The global adapter after a round: a pure function of the incoming one, the
// round's mean and the plan's rule, so anyone who has these can recompute it bit
// for bit.
//
// With the rule `average`, rate 1 and one client the result is what that client
// trained, within the step of the mean and one rounding to fp32. With a
// common A, averaging B is exact for the dense change: the mean of scale B_k A
// is scale mean(B_k) A; the same for a common B. With both factors trained it
// is not (it lacks the covariance of A and B).
//
// INVALID_ARGUMENT: `incoming` does not fit the layout, or the new adapter
// would have a value that is not finite (named): the server's learning rate is
// too high. Other errors: as MeanSource::Mean().
absl::StatusOr<OptimizedAdapter> NextAdapter(const AdapterLayout& layout, OptimizedAdapter incoming,
                                             const MeanSource& mean, const ServerStep& step);

}  // namespace fedtune
