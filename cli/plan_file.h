// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "cli/base_model_source.h"
#include "plan/plan.h"

namespace fedtune {

// A plan that can work, with all that it stands for.
struct PlanFile {
  std::string text;  // Byte for byte.
  Plan plan;
  BaseModelSource base;
  AdapterLayout layout;
};

// What the file alone says; the rest is left as it is. INVALID_ARGUMENT: there is no such file
// or it may not be read, or as ParsePlan(): mistakes are said with their line.
absl::StatusOr<PlanFile> ParsePlanFile(const std::filesystem::path& file);

// Reads a plan, finds its base model (see FindBaseModel()) and resolves its
// targets. `connection` may be null: then only base models of this machine are found.
//
// Errors as ParsePlanFile(), FindBaseModel(), ResolveTargets(), CheckSequenceLength() and
// RoutingShapeOf(); what is wrong with the plan is said with its line.
absl::StatusOr<PlanFile> ReadPlanFile(const std::filesystem::path& file,
                                      const Configuration& configuration,
                                      const CoordinatorConnection* connection);

// "; each round draws 6 of them (max_cohort)" of so many clients; empty where it asks
// all of them.
std::string DrawingText(const Plan& plan, int64_t clients);

}  // namespace fedtune
