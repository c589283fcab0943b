// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "client/round/messages.h"
#include "plan/plan.h"

namespace fedtune {

// Whether the assignment is one of the run's: its policy has allowed so many rounds of
// this plan, and no others. INVALID_ARGUMENT: a round that the plan does not have, an
// evaluation alone in another place than after the last one, other factors than the
// round's, or an evaluation where the plan has none, or the reverse.
absl::Status CheckAssignment(const Assignment& assignment, const Plan& plan);

}  // namespace fedtune
