// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"

// What the commands of `fedtune-ca` do: results go to stdout, what people are to do
// next to stderr. Errors, besides those that are named, are those of AuthorityDirectory
// and base/files.h.
namespace fedtune {

struct InitOptions {
  std::string directory;
  std::string federation;
  int days = 3650;
};

// Makes the authority of a new federation.
absl::Status MakeAuthority(const InitOptions& options, const Clock& clock);

struct IssueOptions {
  std::string directory;
  std::string request;
  std::string role;
  std::string name;
  std::vector<std::string> hosts;
  int days = 90;
  std::string out;
};

// Issues certificates for the requests of one file, a client's and its signer's.
// ALREADY_EXISTS: `out` is there. INVALID_ARGUMENT: no folder for it, no such role, or
// a file with something else than one or two requests.
absl::Status IssueCertificates(const IssueOptions& options, const Clock& clock);

struct ListOptions {
  std::string directory;
  bool json = false;
};

// Prints every certificate that was issued.
absl::Status ListIssued(const ListOptions& options, const Clock& clock);

struct ShowOptions {
  std::string file;
  bool json = false;
};

// Prints what a certificate or a request says.
// INVALID_ARGUMENT: the file is neither.
absl::Status ShowFile(const ShowOptions& options, const Clock& clock);

struct RequestOptions {
  std::string directory;
  std::string federation;
  std::string role;
  std::string name;
  bool fips = false;
};

// Makes a member's key and a request for its certificate. Errors as MakeKeyAndRequest().
absl::Status RequestCertificate(const RequestOptions& options);

struct RosterSignOptions {
  std::string directory;
  std::string out;  // Empty: roster.json in the authority's folder.
};

// Signs the roster of all institutions with a valid signing certificate.
absl::Status SignRosterFile(const RosterSignOptions& options, const Clock& clock);

struct RosterShowOptions {
  std::string file;
  std::string authority;  // Empty: the signature is not verified.
  bool json = false;
};

// Prints what a roster says. Errors as SigningRoster::Load(), or ParseRoster().
absl::Status ShowRoster(const RosterShowOptions& options, const Clock& clock);

// Makes a secret that institutions share and the coordinator has not.
// ALREADY_EXISTS: `out` is there. INVALID_ARGUMENT: there is no folder for it.
absl::Status MakeFederationKey(const std::string& out);

}  // namespace fedtune
