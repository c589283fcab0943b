// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aggregation/adapter_layout.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/plan.h"

namespace fedtune {

// How much processor time matching a plan's patterns to a model's layers may take. A thousand
// expressions are matched to the 45,000 layers of a large model well within it, unless they
// are made to be slow; those would take hours.
struct MatchingTime {
  absl::Duration most = absl::Seconds(30);
};

// `layers` with the ranks and alphas that `adapter` gives them; see ResolveTargets(). Requires:
// at least one layer.
//
// INVALID_ARGUMENT: a pattern that cannot be matched, or matches none of the layers, or all
// of them together take longer than `time`; the message names the table.
absl::StatusOr<std::vector<AdapterModule>> ModulesOf(std::span<const LinearLayer* const> layers,
                                                     const AdapterPlan& adapter,
                                                     int64_t experts_per_token, MatchingTime time);

}  // namespace fedtune
