// SPDX-License-Identifier: Apache-2.0

#include "cli/plan_file.h"

#include <utility>

#include "base/exit_code.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "plan/adapter_targets.h"
#include "plan/routing_shape.h"
#include "plan/sequence_length.h"

namespace fedtune {
namespace {

// Errors of the connection are none of the plan's.
bool IsOfThePlan(const absl::Status& status) {
  return absl::IsNotFound(status) || absl::IsInvalidArgument(status);
}

}  // namespace

absl::StatusOr<PlanFile> ParsePlanFile(const std::filesystem::path& file) {
  PlanFile parsed;
  ASSIGN_OR_RETURN(parsed.text, ReadNamedFile(file));
  ASSIGN_OR_RETURN(parsed.plan, ParsePlan(parsed.text, file.string()));
  return parsed;
}

absl::StatusOr<PlanFile> ReadPlanFile(const std::filesystem::path& file,
                                      const Configuration& configuration,
                                      const CoordinatorConnection* connection) {
  const std::string source = file.string();
  ASSIGN_OR_RETURN(PlanFile read, ParsePlanFile(file));
  auto base = FindBaseModel(read.plan, file.parent_path(), configuration, connection);
  if (!base.ok() && IsOfThePlan(base.status())) {
    return WithExitCode(AtPlanKey(read.text, source, {"", "base_model"}, base.status()),
                        ExitCode::kUsage);
  }
  RETURN_IF_ERROR(base.status());
  read.base = *std::move(base);
  auto layout = ResolveTargets(read.base.description, read.plan.adapter);
  if (!layout.ok()) {
    return AtPlanKey(read.text, source, {"adapter", "targets"}, layout.status());
  }
  read.layout = *std::move(layout);
  const absl::Status length = CheckSequenceLength(read.plan.training, read.base.description);
  if (!length.ok()) return AtPlanKey(read.text, source, {"training", "sequence_length"}, length);
  const absl::Status routing = RoutingShapeOf(read.base.description, read.plan.training).status();
  if (!routing.ok()) return AtPlanKey(read.text, source, {"", "base_model"}, routing);
  return read;
}

std::string DrawingText(const Plan& plan, int64_t clients) {
  const int64_t most = MostInCohort(plan);
  if (most == 0 || clients <= most) return "";
  return fmt::format("; each round draws {} of them ({})", most,
                     plan.rounds.cohort_size > 0 ? "cohort_size" : "max_cohort");
}

}  // namespace fedtune
