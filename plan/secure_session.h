// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "aggregation/adapter_layout.h"
#include "plan/plan.h"
#include "plan/secure_vector.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {

// One attempt at one round, and what it trains.
struct SecureAttempt {
  std::string federation = {};
  std::string run = {};
  int64_t round = 0;    // Counted from 0.
  int64_t attempt = 1;  // Counted from 1.
  FactorSet factors = FactorSet::kBoth;
  bool evaluate_only = false;  // No values are summed, only what is counted.
  RoutingShape routing = {};   // Of the run. Who only evaluates counts no routed tokens.
};

// What clients and the coordinator of a secure round must agree on. Each makes it
// from the plan's text, the layout and the roster that it has itself: who was
// shown another ring, clip, factor or roster, or has a base model with other
// experts, has another session.
//
// INVALID_ARGUMENT: as MaskedLayoutOf().
absl::StatusOr<SessionParameters> SecureSessionParameters(const Plan& plan,
                                                          std::string_view plan_toml,
                                                          const AdapterLayout& layout,
                                                          const Digest& roster,
                                                          const SecureAttempt& attempt);

// The vector that the attempt's clients mask.
// INVALID_ARGUMENT: as the one in secure_vector.h.
absl::StatusOr<MaskedLayout> MaskedLayoutOf(const Plan& plan, const AdapterLayout& layout,
                                            const SecureAttempt& attempt);

// What clients trained from: base model ("sha256:...") and global adapter.
Digest TrainedFrom(std::string_view base_digest, const Digest& adapter);

}  // namespace fedtune
