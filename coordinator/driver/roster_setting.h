// SPDX-License-Identifier: Apache-2.0

#pragma once

#include "absl/status/status.h"
#include "coordinator/rounds/secure_setting.h"
#include "coordinator/storage/run_store.h"
#include "plan/plan.h"
#include "privacy/identity/signing_roster.h"

namespace fedtune {

// FAILED_PRECONDITION: the plan aggregates securely, and there is no roster, or the plan's
// suite is not offered here; says what to do. Null: there is none.
absl::Status CheckCanAggregate(const Plan& plan, const SigningRoster* roster);

// What a secure run takes from the roster: who may be in its sessions, with which key of
// the plan's suite. Institutions that have none are left out.
SecureSetting SecureSettingOf(const RunRecord& record, const Plan& plan,
                              const SigningRoster& roster);

}  // namespace fedtune
