// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "aggregation/adapter_layout.h"
#include "client/policy/hours.h"
#include "model/checkpoint/base_model_description.h"
#include "plan/plan.h"

namespace fedtune {

enum class SecureAggregation : uint8_t { kOptional, kRequired };

// What an institution allows on its own machine; only it can change this. An
// empty policy allows every run on the base models that the client has.
struct Policy {
  std::vector<std::string> base_models;  // "sha256:..."; empty: all that are present.
  std::vector<std::string> targets;      // Groups or leaf names; empty: every layer.
  int64_t max_rank = 0;                  // 0: no limit; also holds for routed experts.
  int64_t max_rounds = 0;                // 0: no limit.
  // Contributions that a plan's quorum must ask for. 0: as many as a plain plan
  // likes, and 5 of a secure one, which needs 3 whatever is set here.
  int64_t min_cohort = 0;
  // Clients on a lying coordinator's side that a secure plan must hold against.
  int64_t assumed_corrupt = 0;
  SecureAggregation secure_aggregation = SecureAggregation::kOptional;
  // Whether the coordinator is told how many records there are, outside of plain
  // runs, which cannot do without.
  bool tell_record_counts = false;
  Hours hours;  // When training and evaluation may run, in local time.
};

// Parses policy.toml. `source` names it in messages.
// INVALID_ARGUMENT: everything that is wrong with it, a line each.
absl::StatusOr<Policy> ParsePolicy(std::string_view toml, std::string_view source);

// A run as it was proposed, and what it would train here.
struct ProposedRun {
  const Plan& plan;
  const AdapterLayout& layout;
  const BaseModelDescription& base_model;  // The one on this machine, with its digest.
  std::string_view earlier_digest = {};    // By which a policy may name it, too.
};

struct Decision {
  bool accepted = false;
  std::string reason;  // For the administrator; set when declined.

  friend bool operator==(const Decision&, const Decision&) = default;
};

// Contributions that a secure plan must at least sum, whatever it says itself.
int64_t LeastSecureCohort(const Policy& policy);

// Whether `policy` allows `run`. Pure. Hours do not decide: a run outside them
// waits.
Decision Decide(const Policy& policy, const ProposedRun& run);

}  // namespace fedtune
