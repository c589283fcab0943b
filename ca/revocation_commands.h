// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>

#include "absl/status/status.h"
#include "base/clock.h"

// What `fedtune-ca revoke` and `crl` do: results go to stdout, what was done and what
// people are to do next to stderr. Errors, besides those that are named, are those of
// AuthorityDirectory and base/files.h.
namespace fedtune {

// What is revoked: exactly one of the three.
struct RevokeOptions {
  std::string directory;
  std::string certificate;  // A file.
  std::string serial;
  std::string role;  // With `name`: all that a member has.
  std::string name;
  std::string out;  // Empty: revoked.crl in the authority's folder.
};

// Revokes certificates and writes the list of all that are revoked. Where they were
// revoked before, only the file is written, if it is not there any more, or another.
// INVALID_ARGUMENT: none of the three, or two; no serial; no folder for `out`.
// PERMISSION_DENIED: nothing can be written there; nothing is revoked. Where the list cannot
// be written although it looked as if it could, the message says that all else is done.
absl::Status RevokeCertificates(const RevokeOptions& options, const Clock& clock);

struct RevocationListOptions {
  std::string directory;
  std::string out;  // Empty: revoked.crl in the authority's folder.
};

// Writes the list of all that are revoked, which may be nobody.
absl::Status WriteRevocationList(const RevocationListOptions& options, const Clock& clock);

}  // namespace fedtune
