// SPDX-License-Identifier: Apache-2.0

#include "client/policy/policy.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "base/status_macros.h"
#include "base/toml.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "plan/adapter_targets.h"
#include "plan/plan_fields.h"
#include "privacy/crypto/sha256.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {
namespace {

// The least cohort of a secure run where the policy has none.
constexpr int64_t kSecureCohort = 5;

void ReadLimit(TomlSection& section, std::string_view key, int64_t& limit) {
  section.Optional(key, limit);
  if (section.IsInteger(key) && limit < 1) section.Reject(key, "must be at least 1");
}

// Of an empty one nobody can tell whether all are meant, or none.
void ReadAllowed(TomlSection& section, std::string_view key, std::vector<std::string>& allowed) {
  section.Optional(key, allowed);
  if (section.IsArray(key) && allowed.empty()) {
    section.Reject(key, "must name at least one; to allow all, leave the key out");
  }
}

void ReadBaseModels(TomlSection& section, std::vector<std::string>& base_models) {
  ReadAllowed(section, "base_models", base_models);
  for (const std::string& digest : base_models) {
    if (digest.starts_with("sha256:") && Digest::Parse(digest).ok()) continue;
    section.Reject("base_models",
                   fmt::format("\"{}\" is not a digest such as \"sha256:9c1e...\" (64 digits); "
                               "fedtune-client base digest DIR prints it",
                               digest));
  }
}

void ReadHours(TomlSection& section, Hours& hours) {
  if (!section.Has("hours")) return;
  std::string text;
  section.Optional("hours", text);
  absl::StatusOr<Hours> parsed = Hours::Parse(text);
  if (parsed.ok()) {
    hours = *parsed;
  } else {
    section.Reject("hours", Message(parsed.status()));
  }
}

using Refusal = std::optional<std::string>;

Refusal RefuseBaseModel(const Policy& policy, const ProposedRun& run) {
  const auto& allowed = policy.base_models;
  const std::string& digest = run.base_model.digest;
  const bool is_named = std::any_of(allowed.begin(), allowed.end(), [&](const std::string& one) {
    return one == digest || one == run.earlier_digest;
  });
  if (allowed.empty() || is_named) return std::nullopt;
  return fmt::format("base model {} is not in its policy", digest);
}

// The names of the layers that the policy's targets match in the model. A
// target that matches nothing there allows nothing.
absl::flat_hash_set<std::string> AllowedLayers(const Policy& policy,
                                               const BaseModelDescription& model) {
  absl::flat_hash_set<std::string> names;
  for (const std::string& target : policy.targets) {
    const auto layout = ResolveTargets(model, AdapterPlan{.rank = 1, .targets = {target}});
    if (!layout.ok()) continue;
    for (const AdapterModule& module : layout->modules()) names.insert(module.name);
  }
  return names;
}

Refusal RefuseTargets(const Policy& policy, const ProposedRun& run) {
  if (policy.targets.empty()) return std::nullopt;
  const auto allowed = AllowedLayers(policy, run.base_model);
  for (const AdapterModule& module : run.layout.modules()) {
    if (allowed.contains(module.name)) continue;
    return fmt::format("the run trains {}, and its policy allows only {}", module.name,
                       fmt::join(policy.targets, ", "));
  }
  return std::nullopt;
}

Refusal RefuseRank(const Policy& policy, const ProposedRun& run) {
  if (policy.max_rank == 0) return std::nullopt;
  for (const AdapterModule& module : run.layout.modules()) {
    if (module.lora_rank <= policy.max_rank) continue;
    return fmt::format("the run trains {} with rank {}, and its policy allows at most {}",
                       module.name, module.lora_rank, policy.max_rank);
  }
  return std::nullopt;
}

Refusal RefuseRounds(const Policy& policy, const ProposedRun& run) {
  const RoundsPlan& rounds = run.plan.rounds;
  if (policy.max_rounds > 0 && rounds.count > policy.max_rounds) {
    return fmt::format("the plan has {} rounds, and its policy allows at most {}", rounds.count,
                       policy.max_rounds);
  }
  if (run.plan.aggregation.mode == AggregationMode::kPlain && rounds.quorum < policy.min_cohort) {
    return fmt::format(
        "the plan releases rounds of {} contributions, and its policy asks for at least {}; "
        "raise rounds.quorum",
        rounds.quorum, policy.min_cohort);
  }
  return std::nullopt;
}

Refusal RefusePlainAggregation(const Policy& policy, const ProposedRun& run) {
  if (policy.secure_aggregation == SecureAggregation::kOptional ||
      run.plan.aggregation.mode == AggregationMode::kSecure) {
    return std::nullopt;
  }
  return "the coordinator of a plain run sees each contribution, and its policy requires secure "
         "aggregation; set aggregation.mode = \"secure\"";
}

// What a client of a secure run insists on itself: the coordinator may lie about
// everything that the plan does not bind it to.
Refusal RefuseSecureAggregation(const Policy& policy, const ProposedRun& run) {
  if (run.plan.aggregation.mode == AggregationMode::kPlain) return std::nullopt;
  const SecurePlan& secure = run.plan.secure;
  const int64_t least = LeastSecureCohort(policy);
  const int64_t released = std::min(secure.min_cohort, run.plan.rounds.quorum);
  if (released < least) {
    return fmt::format(
        "the plan releases sums of {} contributions, and its policy asks for at least {}; raise "
        "secure.min_cohort, or lower the policy's min_cohort ({} at least)",
        released, least, kLeastCohort);
  }
  if (secure.assumed_corrupt < policy.assumed_corrupt) {
    return fmt::format(
        "the plan holds against {} clients on the coordinator's side, and its policy asks for at "
        "least {}; raise secure.assumed_corrupt",
        secure.assumed_corrupt, policy.assumed_corrupt);
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<Policy> ParsePolicy(std::string_view toml, std::string_view source) {
  ASSIGN_OR_RETURN(TomlDocument document, TomlDocument::Parse(toml, source));
  TomlSection root = document.root();
  Policy policy;
  ReadBaseModels(root, policy.base_models);
  ReadAllowed(root, "targets", policy.targets);
  ReadLimit(root, "max_rank", policy.max_rank);
  ReadLimit(root, "max_rounds", policy.max_rounds);
  ReadLimit(root, "min_cohort", policy.min_cohort);
  ReadLimit(root, "assumed_corrupt", policy.assumed_corrupt);
  ReadChoice<SecureAggregation>(
      root, "secure_aggregation", policy.secure_aggregation,
      {{"optional", SecureAggregation::kOptional}, {"required", SecureAggregation::kRequired}});
  root.Optional("tell_record_counts", policy.tell_record_counts);
  ReadHours(root, policy.hours);
  RETURN_IF_ERROR(document.Finish());
  return policy;
}

int64_t LeastSecureCohort(const Policy& policy) {
  return policy.min_cohort == 0 ? kSecureCohort
                                : std::max<int64_t>(policy.min_cohort, kLeastCohort);
}

Decision Decide(const Policy& policy, const ProposedRun& run) {
  for (const auto refuse : {RefusePlainAggregation, RefuseSecureAggregation, RefuseBaseModel,
                            RefuseTargets, RefuseRank, RefuseRounds}) {
    if (Refusal reason = refuse(policy, run)) {
      return {.accepted = false, .reason = *std::move(reason)};
    }
  }
  return {.accepted = true, .reason = ""};
}

}  // namespace fedtune
