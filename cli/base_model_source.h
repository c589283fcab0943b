// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <optional>

#include "absl/status/statusor.h"
#include "cli/configuration.h"
#include "cli/coordinator_connection.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/plan.h"

namespace fedtune {

struct BaseModelSource {
  BaseModelDescription description;                // With its digest.
  std::optional<std::filesystem::path> directory;  // Where it lies on this machine, if it does.
};

// Finds the base model that `plan` names: a path, a folder of that name in one
// of the configured model folders, or an entry of the coordinator's catalogue
// (`connection` may be null: then it is not asked). Relative paths start at
// `plan_folder`. Reads all weights once for the digest, with progress.
//
// NOT_FOUND: it is in none of these places (lists them). INVALID_ARGUMENT: the
// plan has another digest than what was found. Where it has the earlier one, the description
// has that, so that the run goes by it, and stderr says so.
absl::StatusOr<BaseModelSource> FindBaseModel(const Plan& plan,
                                              const std::filesystem::path& plan_folder,
                                              const Configuration& configuration,
                                              const CoordinatorConnection* connection);

}  // namespace fedtune
