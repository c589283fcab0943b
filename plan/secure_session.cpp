// SPDX-License-Identifier: Apache-2.0

#include "plan/secure_session.h"

#include "base/status_macros.h"
#include "privacy/crypto/canonical_bytes.h"

namespace fedtune {
namespace {

// All that the plan's numbers in SessionParameters do not say.
Digest RoundDigest(std::string_view plan_toml, const AdapterLayout& layout,
                   const SecureAttempt& attempt) {
  CanonicalWriter writer;
  writer.Sized("fedtune/secure-round/2")
      .Fixed(Sha256Of(plan_toml))
      .Fixed(Sha256Of(layout.ToJson()))
      .U8(static_cast<uint8_t>(attempt.factors))
      .U8(attempt.evaluate_only ? 1 : 0)
      .U64(static_cast<uint64_t>(attempt.routing.layers))
      .U64(static_cast<uint64_t>(attempt.routing.experts))
      .U64(static_cast<uint64_t>(attempt.routing.choices))
      .U64(static_cast<uint64_t>(attempt.routing.most_tokens));
  return Sha256Of(ByteSpan(writer.bytes()));
}

}  // namespace

absl::StatusOr<MaskedLayout> MaskedLayoutOf(const Plan& plan, const AdapterLayout& layout,
                                            const SecureAttempt& attempt) {
  if (attempt.evaluate_only) return MaskedLayoutOf(plan.secure, 0);
  return MaskedLayoutOf(plan.secure, layout.parameter_count(attempt.factors), attempt.routing);
}

absl::StatusOr<SessionParameters> SecureSessionParameters(const Plan& plan,
                                                          std::string_view plan_toml,
                                                          const AdapterLayout& layout,
                                                          const Digest& roster,
                                                          const SecureAttempt& attempt) {
  ASSIGN_OR_RETURN(const MaskedLayout masked, MaskedLayoutOf(plan, layout, attempt));
  return SessionParameters{.federation = attempt.federation,
                           .run = attempt.run,
                           .round = attempt.round,
                           .attempt = attempt.attempt,
                           .suite = plan.secure.suite,
                           .ring = plan.secure.ring,
                           .element_count = masked.element_count(),
                           .plan = RoundDigest(plan_toml, layout, attempt),
                           .roster = roster,
                           .min_cohort = static_cast<int>(plan.secure.min_cohort),
                           .max_cohort = static_cast<int>(plan.secure.max_cohort),
                           .assumed_corrupt = static_cast<int>(plan.secure.assumed_corrupt)};
}

Digest TrainedFrom(std::string_view base_digest, const Digest& adapter) {
  CanonicalWriter writer;
  writer.Sized("fedtune/trained-from/1").Sized(base_digest).Fixed(adapter);
  return Sha256Of(ByteSpan(writer.bytes()));
}

}  // namespace fedtune
