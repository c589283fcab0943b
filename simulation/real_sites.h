// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "simulation/simulation.h"

namespace fedtune::simulation {

// The institutions whose folders lie in `data`, by name: each has a train.jsonl, and an
// eval.jsonl to evaluate on if it wants to.
//
// INVALID_ARGUMENT: there is none, one is there twice, or others than `clients` are asked
// for: nobody's records are shared out.
absl::StatusOr<std::vector<RealSite>> FindRealSites(const std::vector<std::filesystem::path>& data,
                                                    std::optional<int64_t> clients);

}  // namespace fedtune::simulation
