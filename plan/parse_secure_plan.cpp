// SPDX-License-Identifier: Apache-2.0

#include "plan/parse_secure_plan.h"

#include <algorithm>

#include "base/status.h"
#include "fmt/format.h"
#include "plan/plan_fields.h"
#include "plan/secure_vector.h"
#include "privacy/secure_aggregation/session_parameters.h"

namespace fedtune {
namespace {

constexpr int64_t kMostWeight = int64_t{1} << 27;

void ReadRing(TomlSection& section, RingBits& ring) {
  int64_t bits = static_cast<int64_t>(ring);
  section.Optional("ring_bits", bits);
  if (bits == 16 || bits == 24 || bits == 32) {
    ring = static_cast<RingBits>(bits);
  } else {
    section.Reject("ring_bits", "must be 16, 24 or 32");
  }
}

void ReadKeys(TomlSection& section, SecurePlan& secure) {
  ReadWhole(section, "min_cohort", secure.min_cohort,
            {.least = kLeastCohort,
             .most = kMostClients,
             .why = "of two clients each could subtract itself from the sum"});
  ReadWhole(section, "max_cohort", secure.max_cohort, {kLeastCohort, kMostClients});
  ReadWhole(section, "assumed_corrupt", secure.assumed_corrupt, {0, kMostClients});
  ReadRing(section, secure.ring);
  ReadPositive(section, "clip", secure.clip, 1e6);
  ReadWhole(section, "max_weight", secure.max_weight, {1, kMostWeight});
  ReadChoice<CipherSuite>(
      section, "suite", secure.suite,
      {{"curve25519", CipherSuite::kCurve25519}, {"p256", CipherSuite::kNistP256}});
  ReadDuration(
      section, "phase_deadline", secure.phase_deadline,
      {.least = absl::Seconds(1), .most = absl::Hours(24), .words = "from \"1s\" to \"24h\""});
}

// Clients of one round; 0: however many are connected.
int64_t InvitedCount(const RoundsPlan& rounds) {
  return rounds.cohort_size > 0 ? rounds.cohort_size : std::ssize(rounds.institutions);
}

void CheckCohort(TomlSection& rounds, TomlSection& section, Plan& plan) {
  SecurePlan& secure = plan.secure;
  const int64_t invited = InvitedCount(plan.rounds);
  if (!section.Has("max_cohort")) {
    secure.max_cohort =
        std::max(invited > 0 ? invited : int64_t{kLargestCompleteGraph}, secure.min_cohort);
  }
  if (secure.max_cohort < secure.min_cohort) {
    section.Reject("max_cohort", fmt::format("is {}, below the min_cohort of {}", secure.max_cohort,
                                             secure.min_cohort));
  }
  if (invited > secure.max_cohort) {
    section.Reject("max_cohort", fmt::format("is {}, but {} clients are asked in a round",
                                             secure.max_cohort, invited));
  }
  if (invited > 0 && invited < secure.min_cohort) {
    rounds.Reject(plan.rounds.cohort_size > 0 ? "cohort_size" : "institutions",
                  fmt::format("gives a round {} clients, and secure aggregation needs {} "
                              "(secure.min_cohort)",
                              invited, secure.min_cohort));
  }
}

void CheckQuorum(TomlSection& rounds, Plan& plan) {
  const int64_t invited = InvitedCount(plan.rounds);
  const int64_t threshold = invited > 0 && invited <= kLargestCompleteGraph
                                ? CompleteGraphThreshold(static_cast<int>(invited))
                                : 0;
  const int64_t least = std::max(plan.secure.min_cohort, threshold);
  if (!rounds.Has("quorum")) {
    plan.rounds.quorum = least;
  } else if (plan.rounds.quorum < plan.secure.min_cohort) {
    rounds.Reject("quorum", fmt::format("is {}, below the {} clients that secure aggregation needs "
                                        "(secure.min_cohort)",
                                        plan.rounds.quorum, plan.secure.min_cohort));
  } else if (plan.rounds.quorum < threshold) {
    rounds.Reject("quorum", fmt::format("is {}, but the masks of {} clients come off only with the "
                                        "shares of {}",
                                        plan.rounds.quorum, invited, threshold));
  } else if (invited == 0 && plan.rounds.quorum > plan.secure.max_cohort) {
    rounds.Reject("quorum", fmt::format("is {}, but no more than {} clients are asked in a round "
                                        "(secure.max_cohort)",
                                        plan.rounds.quorum, plan.secure.max_cohort));
  }
}

// Whatever number of clients a round may have, two disjoint groups of honest ones
// with the corrupt ones in both must not each reach the threshold.
void CheckCorrupt(TomlSection& section, const SecurePlan& secure) {
  const int64_t most = std::min<int64_t>(secure.max_cohort, kLargestCompleteGraph);
  for (int64_t clients = secure.min_cohort; clients <= most; ++clients) {
    const int64_t threshold = CompleteGraphThreshold(static_cast<int>(clients));
    if (2 * threshold > clients + secure.assumed_corrupt) continue;
    return section.Reject(
        "assumed_corrupt",
        fmt::format("is {}, but among {} clients the threshold of {} shares holds against {} at "
                    "most; raise min_cohort or lower it",
                    secure.assumed_corrupt, clients, threshold, 2 * threshold - clients - 1));
  }
}

}  // namespace

void ReadSecure(TomlSection& root, Plan& plan) {
  TomlSection section = root.Section("secure");
  TomlSection rounds = root.Section("rounds");
  ReadKeys(section, plan.secure);
  if (plan.aggregation.mode == AggregationMode::kPlain) {
    RejectUnused(section, {"max_weight"},
                 "mode = \"plain\" in [aggregation]; the bound of plain plans is there, too");
    return RejectUnused(section,
                        {"min_cohort", "max_cohort", "assumed_corrupt", "ring_bits", "clip",
                         "suite", "phase_deadline"},
                        "mode = \"plain\" in [aggregation]");
  }
  if (plan.aggregation.weights == ContributionWeights::kUniform) {
    RejectUnused(section, {"max_weight"}, "weights = \"uniform\"");
    plan.secure.max_weight = 1;
  }
  CheckCohort(rounds, section, plan);
  CheckQuorum(rounds, plan);
  CheckCorrupt(section, plan.secure);
  const auto layout = MaskedLayoutOf(plan.secure, /*value_count=*/0);
  if (!layout.ok())
    section.Reject("ring_bits", fmt::format("is too small: {}", Message(layout.status())));
}

}  // namespace fedtune
