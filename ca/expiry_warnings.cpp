// SPDX-License-Identifier: Apache-2.0

#include "ca/expiry_warnings.h"

#include <map>
#include <string>
#include <vector>

#include "base/status_macros.h"
#include "privacy/identity/expiry.h"

namespace fedtune {
namespace {

constexpr absl::Duration kHasLeft = absl::Hours(30 * 24);

}  // namespace

void WarnOfAuthority(const AuthorityDirectory& directory, absl::Time now) {
  WarnOfExpiry(ExpiringSoon(directory.authority().certificate(), now), now);
}

absl::Status WarnOfSigners(const AuthorityDirectory& directory, absl::Time now) {
  ASSIGN_OR_RETURN(const std::vector<IssuedCertificate> issued, directory.List());
  std::map<std::string, Certificate> newest;
  for (const IssuedCertificate& one : issued) {
    const Certificate& certificate = one.certificate;
    if (certificate.identity.role != Role::kSigner || one.revoked_at.has_value()) continue;
    Certificate& known = newest.try_emplace(certificate.identity.name, certificate).first->second;
    if (known.not_after < certificate.not_after) known = certificate;
  }
  std::vector<Certificate> signers;
  for (const auto& [name, certificate] : newest) {
    if (now - certificate.not_after < kHasLeft) signers.push_back(certificate);
  }
  WarnOfExpiry(ExpiringSoon(signers, now), now);
  return absl::OkStatus();
}

}  // namespace fedtune
