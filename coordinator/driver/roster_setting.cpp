// SPDX-License-Identifier: Apache-2.0

#include "coordinator/driver/roster_setting.h"

#include "privacy/crypto/cipher_suite.h"

namespace fedtune {

absl::Status CheckCanAggregate(const Plan& plan, const SigningRoster* roster) {
  if (plan.aggregation.mode != AggregationMode::kSecure) return absl::OkStatus();
  if (roster == nullptr) {
    return absl::FailedPreconditionError(
        "the plan aggregates securely, and this coordinator has no signing roster: let the "
        "authority's custodian run fedtune-ca roster sign, and set signing_roster in "
        "coordinator.toml");
  }
  if (!IsOffered(plan.secure.suite)) {
    return absl::FailedPreconditionError(
        "the OpenSSL of the coordinator's machine does not offer the plan's secure.suite");
  }
  return absl::OkStatus();
}

SecureSetting SecureSettingOf(const RunRecord& record, const Plan& plan,
                              const SigningRoster& roster) {
  SecureSetting setting{.federation = roster.federation(),
                        .plan_toml = record.plan_toml,
                        .base_digest = record.base_digest,
                        .roster = roster.digest()};
  for (const SigningRosterEntry& entry : roster.entries()) {
    if (entry.suite != plan.secure.suite) continue;
    setting.numbers[Institution{entry.institution}] = entry.number;
    setting.signing_keys[entry.number] = entry.public_key;
  }
  return setting;
}

}  // namespace fedtune
