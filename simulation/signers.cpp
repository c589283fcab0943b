// SPDX-License-Identifier: Apache-2.0

#include "simulation/signers.h"

#include <span>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/time/time.h"
#include "base/check.h"
#include "base/status.h"
#include "fmt/format.h"
#include "privacy/crypto/random_bytes.h"
#include "privacy/identity/certificate_authority.h"

namespace fedtune::simulation {
namespace {

// Key pairs as PKCS #8 has them, up to the 32 bytes of the private key.
constexpr uint8_t kEd25519Head[] = {0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06,
                                    0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20};
constexpr uint8_t kP256Head[] = {0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07,
                                 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
                                 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04,
                                 0x27, 0x30, 0x25, 0x02, 0x01, 0x01, 0x04, 0x20};

template <typename T>
T Must(absl::StatusOr<T> value) {
  Check(value.ok(), Message(value.status()));
  return *std::move(value);
}

// From RandomBytes(), where SigningKey::Generate() would ask OpenSSL.
SigningKey NewKey(CipherSuite suite) {
  const std::span<const uint8_t> head = suite == CipherSuite::kCurve25519
                                            ? std::span<const uint8_t>(kEd25519Head)
                                            : std::span<const uint8_t>(kP256Head);
  std::string der(head.begin(), head.end());
  const std::vector<uint8_t> key = RandomBytes(32);
  der.append(key.begin(), key.end());
  return Must(SigningKey::ParsePem(fmt::format(
      "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", absl::Base64Escape(der))));
}

}  // namespace

Signers::Signers(const std::string& federation, const std::vector<std::string>& institutions,
                 CipherSuite suite) {
  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  RosterContent content{.federation = federation, .version = 1, .signed_at = now, .entries = {}};
  for (const std::string& institution : institutions) {
    const auto key = std::make_shared<const SigningKey>(NewKey(suite));
    keys_[institution] = key;
    content.entries.push_back({.number = static_cast<uint32_t>(content.entries.size() + 1),
                               .institution = institution,
                               .suite = key->suite(),
                               .public_key = key->public_key()});
  }
  const auto authority =
      Must(CertificateAuthority::Create(federation, absl::Hours(48), now - absl::Hours(1)));
  const auto signer = Must(SigningKey::ParsePem(authority.key().ToPem().RevealText()));
  roster_ = std::make_shared<const SigningRoster>(
      Must(SigningRoster::Verify(Must(SignRoster(content, signer)), authority.ToPem(), now)));
}

SecureMembership Signers::MembershipOf(const std::string& institution) const {
  SecureMembership membership{.federation = roster_->federation(),
                              .roster = roster_->digest(),
                              .number = roster_->Find(institution)->number,
                              .key = keys_.at(institution),
                              .signing_keys = {}};
  for (const SigningRosterEntry& entry : roster_->entries()) {
    membership.signing_keys[entry.number] = entry.public_key;
  }
  return membership;
}

}  // namespace fedtune::simulation
