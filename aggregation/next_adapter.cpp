// SPDX-License-Identifier: Apache-2.0

#include "aggregation/next_adapter.h"

#include "absl/status/status.h"
#include "aggregation/adapter_bytes.h"
#include "base/status_macros.h"
#include "fmt/format.h"

namespace fedtune {

absl::StatusOr<OptimizedAdapter> NextAdapter(const AdapterLayout& layout, OptimizedAdapter incoming,
                                             const MeanSource& mean, const ServerStep& step) {
  const int64_t count = layout.parameter_count();
  if (std::ssize(incoming.values) != count) {
    return absl::InvalidArgumentError(
        fmt::format("the incoming adapter has {} values, its layout "
                    "{}",
                    incoming.values.size(), count));
  }
  for (const auto* moment : {&incoming.state.first_moment, &incoming.state.second_moment}) {
    if (!moment->empty() && std::ssize(*moment) != count) {
      return absl::InvalidArgumentError("the optimiser's state belongs to another adapter");
    }
  }
  RETURN_IF_ERROR(ApplyServerStep(
      layout, mean.factors(), step,
      [&mean](int64_t first, std::span<float> values) { return mean.Mean(first, values); },
      incoming.values, incoming.state));
  RETURN_IF_ERROR(CheckFinite(layout, FactorSet::kBoth, incoming.values,
                              "the new adapter (is the server's learning rate too high?)"));
  return incoming;
}

}  // namespace fedtune
