// SPDX-License-Identifier: Apache-2.0

#include "privacy/identity/expiry.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string_view>

#include "base/files.h"
#include "base/units.h"
#include "fmt/format.h"
#include "privacy/identity/pem.h"

namespace fedtune {
namespace {

constexpr absl::Duration kSoon = absl::Hours(24 * 30);
constexpr absl::Duration kSoonForAll = absl::Hours(24 * 120);
constexpr int kShareOfValidity = 3;

// `certificate` is a member's or an authority's.
bool IsDue(const auto& certificate, absl::Duration soon, absl::Time now) {
  const absl::Duration validity = certificate.not_after - certificate.not_before;
  return certificate.not_after - now < std::min(soon, validity / kShareOfValidity);
}

std::vector<Certificate> MembersIn(const std::filesystem::path& file) {
  std::vector<Certificate> members;
  if (file.empty()) return members;
  const absl::StatusOr<std::string> content = ReadFile(file);
  if (!content.ok()) return members;
  for (const std::string_view block : SplitPem(*content)) {
    absl::StatusOr<Certificate> member = ParseCertificate(block);
    if (member.ok()) members.push_back(*std::move(member));
  }
  return members;
}

}  // namespace

std::vector<Expiry> ExpiringSoon(const std::vector<Certificate>& members, absl::Time now) {
  std::vector<Expiry> found;
  for (const Certificate& member : members) {
    if (!IsDue(member, kSoon, now)) continue;
    found.push_back({.whose = Describe(member.identity),
                     .not_after = member.not_after,
                     .remedy = "the custodian issues a new one for the same request.pem"});
  }
  return found;
}

std::vector<Expiry> ExpiringSoon(const AuthorityCertificate& authority, absl::Time now) {
  if (!IsDue(authority, kSoonForAll, now)) return {};
  return {{.whose = fmt::format("the authority of federation {}", authority.federation),
           .not_after = authority.not_after,
           .remedy = "the custodian makes a new authority, and every member needs a certificate "
                     "of it"}};
}

std::vector<Expiry> ExpiringSoon(const CredentialFiles& files, absl::Time now) {
  std::vector<Certificate> members = MembersIn(files.certificate);
  if (files.signing_certificate != files.certificate) {
    const std::vector<Certificate> signers = MembersIn(files.signing_certificate);
    members.insert(members.end(), signers.begin(), signers.end());
  }
  std::vector<Expiry> found = ExpiringSoon(members, now);
  const absl::StatusOr<std::string> authority_pem = ReadFile(files.authority);
  if (!authority_pem.ok()) return found;
  const auto authority = ParseAuthorityCertificate(*authority_pem);
  if (!authority.ok()) return found;
  const std::vector<Expiry> of_authority = ExpiringSoon(*authority, now);
  found.insert(found.end(), of_authority.begin(), of_authority.end());
  return found;
}

std::string DateOf(const Expiry& expiry, absl::Time now) {
  const std::string day = absl::FormatTime("%Y-%m-%d", expiry.not_after, absl::UTCTimeZone());
  return expiry.not_after < now
             ? fmt::format("{} (expired {})", day, HumanAgo(expiry.not_after, now))
             : fmt::format("{} (in {})", day, HumanDuration(expiry.not_after - now));
}

std::string Describe(const Expiry& expiry, absl::Time now) {
  return fmt::format("the certificate of {} ends on {}; {}", expiry.whose, DateOf(expiry, now),
                     expiry.remedy);
}

void WarnOfExpiry(const CredentialFiles& files, absl::Time now) {
  WarnOfExpiry(ExpiringSoon(files, now), now);
}

void WarnOfExpiry(const std::vector<Expiry>& soon, absl::Time now) {
  for (const Expiry& expiry : soon) fmt::print(stderr, "warning: {}\n", Describe(expiry, now));
}

}  // namespace fedtune
