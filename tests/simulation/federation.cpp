// SPDX-License-Identifier: Apache-2.0

#include "tests/simulation/federation.h"

#include <bit>

#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status.h"
#include "plan/routing_shape.h"
#include "privacy/identity/certificate_authority.h"
#include "tests/simulation/draws.h"

namespace fedtune::simulation {
namespace {

constexpr char kName[] = "north";
constexpr char kBaseModel[] = "examples/base_model/icd-moe";

template <typename T>
T Must(absl::StatusOr<T> value) {
  Check(value.ok(), Message(value.status()));
  return *std::move(value);
}

}  // namespace

const Federation& Federation::Get() {
  static const auto& federation = *new Federation;
  return federation;
}

Federation::Federation() : shelf_(new BaseModelShelf({kBaseModel})) {
  for (const char* name :
       {"ada", "bern", "charite", "delft", "eppendorf", "fulda", "graz", "hvar"}) {
    institutions_.push_back({name});
  }
  const absl::Time now = absl::Now();
  RosterContent content{.federation = kName,
                        .version = 1,
                        .signed_at = absl::FromUnixSeconds(absl::ToUnixSeconds(now)),
                        .entries = {}};
  for (const Institution& institution : institutions_) {
    const auto key =
        std::make_shared<const SigningKey>(SigningKey::Generate(CipherSuite::kCurve25519));
    keys_[institution] = key;
    content.entries.push_back({.number = static_cast<uint32_t>(content.entries.size() + 1),
                               .institution = institution.value,
                               .suite = key->suite(),
                               .public_key = key->public_key()});
  }
  const auto authority =
      Must(CertificateAuthority::Create(kName, absl::Hours(48), now - absl::Hours(1)));
  const auto signer = Must(SigningKey::ParsePem(authority.key().ToPem().RevealText()));
  roster_ = std::make_shared<const SigningRoster>(
      Must(SigningRoster::Verify(Must(SignRoster(content, signer)), authority.ToPem(), now)));
  const BaseModelDescription model = Must(ReadBaseModel(kBaseModel)).description;
  model_json_ = ToJson(model);
  routed_experts_ = static_cast<size_t>(Must(RoutingShapeOf(model, {.steps = 1})).counter_count());
}

SecureMembership Federation::MembershipOf(const Institution& institution) const {
  SecureMembership membership{.federation = kName,
                              .roster = roster_->digest(),
                              .number = roster_->Find(institution.value)->number,
                              .key = keys_.at(institution),
                              .signing_keys = {}};
  for (const SigningRosterEntry& entry : roster_->entries()) {
    membership.signing_keys[entry.number] = entry.public_key;
  }
  return membership;
}

std::vector<float> SyntheticallyTrained(const Institution& institution, const AdapterLayout& layout,
                                        FactorSet factors, std::span<const float> adapter,
                                        uint64_t nonce) {
  std::vector<float> trained(adapter.begin(), adapter.end());
  for (const AdapterTensor& tensor : layout.tensors()) {
    if (!Contains(factors, tensor.factor)) continue;
    for (auto i = static_cast<size_t>(tensor.offset);
         i < static_cast<size_t>(tensor.offset + tensor.size()); ++i) {
      Draws draws(std::bit_cast<uint32_t>(adapter[i]) +
                  (uint64_t{static_cast<uint8_t>(institution.value.front())} << 32) + (i << 40) +
                  nonce);
      trained[i] += static_cast<float>(draws.Below(2001) - 1000) * 0x1p-14F;
    }
  }
  return trained;
}

}  // namespace fedtune::simulation
