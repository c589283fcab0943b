// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/crypto/sha256.h"
#include "privacy/identity/certificate.h"

namespace fedtune {

// The file of a longer list is not read: that is some 300,000 certificates.
inline constexpr size_t kLongestRevocationList = 16 << 20;

// A certificate that is not to be believed any more, though it has not expired.
struct RevokedCertificate {
  std::string serial;  // As in Certificate.
  absl::Time revoked_at;

  friend bool operator==(const RevokedCertificate&, const RevokedCertificate&) = default;
};

// What a list of revoked certificates says.
struct RevocationContent {
  uint64_t number = 0;  // A later list of the same authority has a higher one.
  absl::Time signed_at;
  std::vector<RevokedCertificate> revoked;

  friend bool operator==(const RevocationContent&, const RevocationContent&) = default;
};

// Reads a list in PEM, an X.509 CRL of version 2 (RFC 5280). Nothing is verified but its
// form; RevocationList::Verify() says whether to believe it.
//
// INVALID_ARGUMENT: no such list, or more than one; longer than kLongestRevocationList;
// without a number; or with an extension that must not be passed by, as a list has that
// is only a part of one.
absl::StatusOr<RevocationContent> ParseRevocationList(std::string_view pem);

// What is in the file of a list, and in that of the authority's certificate.
struct RevocationFiles {
  std::string list;
  std::string authority;
};

// Nothing is parsed yet. INVALID_ARGUMENT: longer than kLongestRevocationList, or not there.
// Others as ReadFile() of base/files.h.
absl::StatusOr<RevocationFiles> ReadRevocationFiles(const std::filesystem::path& path,
                                                    const std::filesystem::path& authority);

// The certificates that a federation's authority has revoked, as it has signed them. A
// list holds until there is a newer one, however old it is. Movable, immutable.
class RevocationList {
 public:
  // INVALID_ARGUMENT: as ParseRevocationList() and ParseAuthorityCertificate().
  // UNAUTHENTICATED: not signed by this authority.
  static absl::StatusOr<RevocationList> Verify(std::string_view pem,
                                               std::string_view authority_pem);

  // The same for files; messages name them.
  static absl::StatusOr<RevocationList> Load(const std::filesystem::path& path,
                                             const std::filesystem::path& authority);

  uint64_t number() const { return number_; }
  absl::Time signed_at() const { return signed_at_; }
  size_t size() const { return revoked_.size(); }

  // Of all that was signed: the same for the same list alone.
  const Digest& digest() const { return digest_; }

  // Whether it may take the place of `before`: a newer one, or the same again.
  // FAILED_PRECONDITION: it is older, or another one of the same number.
  absl::Status CheckFollows(const RevocationList& before) const;

  // UNAUTHENTICATED: the certificate is revoked; says since when, and what to do.
  absl::Status CheckNotRevoked(const Identity& identity, std::string_view serial) const;

 private:
  RevocationList(RevocationContent content, const Digest& digest);

  uint64_t number_;
  absl::Time signed_at_;
  std::map<std::string, absl::Time, std::less<>> revoked_;  // By serial.
  Digest digest_;
};

// "number 4 of 2026-11-28 16:05 UTC, 3 certificates", for people.
std::string Describe(const RevocationList& list);

}  // namespace fedtune
