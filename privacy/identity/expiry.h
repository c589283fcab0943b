// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/key_directory.h"

namespace fedtune {

// A certificate that expires soon, or has expired.
struct Expiry {
  std::string whose;  // "client st-anna of federation north".
  absl::Time not_after;
  std::string remedy;  // For people: who does what.
};

// Those of these certificates for which it is time to do something, in this order: less
// than 30 days are left of a member's, or less than 120 of an authority's, for then it cannot
// issue certificates of the usual 90 days much longer, and every member needs one of the
// next. Of one that is short-lived, less than a third of its validity.
std::vector<Expiry> ExpiringSoon(const std::vector<Certificate>& members, absl::Time now);
std::vector<Expiry> ExpiringSoon(const AuthorityCertificate& authority, absl::Time now);

// Those in these files: of a client also its signer's. A file that cannot be read, or has
// none, is passed by: who needs it says so.
std::vector<Expiry> ExpiringSoon(const CredentialFiles& files, absl::Time now);

// "2026-12-10 (in 12 days)", "2026-11-02 (expired 26 days ago)".
std::string DateOf(const Expiry& expiry, absl::Time now);

// "the certificate of client st-anna of federation north ends on 2026-12-10 (in 12 days); ..."
std::string Describe(const Expiry& expiry, absl::Time now);

// A warning for each of those in these files, on stderr.
void WarnOfExpiry(const CredentialFiles& files, absl::Time now);
void WarnOfExpiry(const std::vector<Expiry>& soon, absl::Time now);

}  // namespace fedtune
