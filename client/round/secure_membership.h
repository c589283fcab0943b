// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/canonical_bytes.h"
#include "privacy/crypto/cipher_suite.h"
#include "privacy/crypto/secret_bytes.h"
#include "privacy/crypto/sha256.h"
#include "privacy/crypto/signing_key.h"
#include "privacy/identity/signing_roster.h"

namespace fedtune {

// What an institution is in the secure rounds of one run, and who the others are.
struct SecureMembership {
  std::string federation;
  Digest roster;  // SigningRoster::digest().
  uint32_t number = 0;
  std::shared_ptr<const SigningKey> key;
  std::map<uint32_t, Bytes> signing_keys;                       // Of the run's suite, by number.
  std::shared_ptr<const SecretBytes> federation_key = nullptr;  // Null: there is none.
};

// What an institution believes a roster by.
struct MembershipSource {
  std::string institution;
  absl::StatusOr<std::shared_ptr<const SigningKey>> key;  // Or why there is none.
  std::filesystem::path authority;    // The federation's certificate, read anew each time.
  std::filesystem::path seen_roster;  // The newest one seen; may be missing.
  std::shared_ptr<const SecretBytes> federation_key = nullptr;
};

// The roster that an institution has seen last, from `path`; none if it has seen none.
// Errors of SigningRoster::Verify(): they say which file to remove where the federation has
// a new authority.
absl::StatusOr<std::optional<SigningRoster>> LoadSeenRoster(const std::filesystem::path& path,
                                                            std::string_view authority_pem,
                                                            absl::Time now);

// Takes the roster that came with an invitation, keeps it if it is newer than the
// one seen last, and finds the institution's own key on it.
//
// Errors are why the institution cannot take part, for the administrator: it has
// no signing key, or one of another suite than the plan's; this machine does not
// offer the suite; the roster is missing, not the authority's, or older than the
// one seen; or it has not this institution with this key; or the authority's
// certificate cannot be read.
absl::StatusOr<SecureMembership> JoinSecureRun(const MembershipSource& source,
                                               std::string_view roster_text, CipherSuite suite,
                                               absl::Time now);

}  // namespace fedtune
