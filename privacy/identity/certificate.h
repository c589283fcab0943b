// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/sha256.h"
#include "privacy/identity/identity.h"

namespace fedtune {

// A member's certificate.
struct Certificate {
  Identity identity;
  std::vector<std::string> hosts;  // A coordinator's; empty for the others.
  absl::Time not_before;
  absl::Time not_after;
  std::string serial;      // Hexadecimal.
  Digest fingerprint;      // Of the certificate.
  Digest key_fingerprint;  // Of its public key, as the request has it.
};

// The certificate of a federation's authority.
struct AuthorityCertificate {
  std::string federation;
  absl::Time not_before;
  absl::Time not_after;
  Digest fingerprint;
};

// Reads the first certificate of a chain in PEM. Nothing is verified but its
// form; CheckCertificate() says whether to believe it.
//
// INVALID_ARGUMENT: no certificate; not a member's: an authority's, another kind
// of key than CheckKeyKind() takes, a signer's that TLS would take, not exactly
// one identity, hosts for another role than coordinator, or another use than
// signing.
absl::StatusOr<Certificate> ParseCertificate(std::string_view pem);

// The block of `pem` that is the certificate of a member of `role`: the authority
// sends a client its own and its signer's in one file.
// NOT_FOUND: none is. INVALID_ARGUMENT: one of the blocks is no member's.
absl::StatusOr<std::string> FindCertificate(std::string_view pem, Role role);

// Reads the one certificate of an authority, with the same care.
// INVALID_ARGUMENT: it is none.
absl::StatusOr<AuthorityCertificate> ParseAuthorityCertificate(std::string_view pem);

// Whether `pem`, a certificate with any intermediate ones after it, is good at
// `now` for somebody of `expected` role in the federation of `authority_pem`.
// The messages are for administrators: they say what to do.
//
// INVALID_ARGUMENT: one of the two is none (see above).
// UNAUTHENTICATED: of another authority or federation, expired, not yet valid.
// PERMISSION_DENIED: for another role.
absl::StatusOr<Certificate> CheckCertificate(std::string_view pem, std::string_view authority_pem,
                                             Role expected, absl::Time now);

}  // namespace fedtune
