// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"

// What the commands of `fedtune-ca` do, but for those of revocation_commands.h: results go to
// stdout, what people are to do next to stderr. Each opens the authority's folder itself, and
// several processes may do so at once. Errors, besides those that are named, are those of
// AuthorityDirectory and base/files.h.
namespace fedtune {

struct InitOptions {
  std::string directory;
  std::string federation;
  int days = 3650;  // How long its certificate is valid.
};

// Makes the authority of a new federation, and prints the name of its certificate.
// ALREADY_EXISTS: there is one in `directory`, or a part of one.
absl::Status MakeAuthority(const InitOptions& options, const Clock& clock);

struct IssueOptions {
  std::string directory;
  std::string request;             // The member's file.
  std::string role;                // As RoleName() has it. The request must ask for it,
  std::string name;                // and for this name.
  std::vector<std::string> hosts;  // A coordinator's names beside coordinator.fedtune.
  int days = 90;                   // How long the certificates are valid.
  std::string out;                 // The new file for them.
};

// Issues certificates for the requests of one file, a client's and its signer's, all or none,
// and prints the name of their file. They are on the record before the file is written.
// ALREADY_EXISTS: `out` is there. INVALID_ARGUMENT: no folder for it, no such role, or
// a file with something else than one or two requests. Nothing is issued then.
absl::Status IssueCertificates(const IssueOptions& options, const Clock& clock);

struct ListOptions {
  std::string directory;
  bool json = false;
};

// Prints every certificate that was issued, oldest first.
absl::Status ListIssued(const ListOptions& options, const Clock& clock);

struct ShowOptions {
  std::string file;  // In PEM.
  bool json = false;
};

// Prints what certificates, requests or a list of revoked certificates say; who signed them is
// not looked at. INVALID_ARGUMENT: something in the file is none of these.
absl::Status ShowFile(const ShowOptions& options, const Clock& clock);

struct RequestOptions {
  std::string directory;
  std::string federation;
  std::string role;  // As RoleName() has it.
  std::string name;
  bool fips = false;  // A signing key on P-256 instead of Ed25519.
};

// Makes a member's key, and a client's signing key besides, and a request for their
// certificates, in `directory`, the member's folder for keys; prints the names of key and
// request. INVALID_ARGUMENT: no such role. Otherwise as MakeKeyAndRequest().
absl::Status RequestCertificate(const RequestOptions& options);

struct RosterSignOptions {
  std::string directory;
  std::string out;  // Empty: roster.json in the authority's folder.
};

// Signs the roster of all institutions with a valid signing certificate, and prints the name
// of its file, which is replaced; its version grows with each call. INVALID_ARGUMENT: no folder
// for it; nothing is signed. Where the file cannot be written the version is used up.
absl::Status SignRosterFile(const RosterSignOptions& options, const Clock& clock);

struct RosterShowOptions {
  std::string file;
  std::string authority;  // Its certificate. Empty: the signature is not verified.
  bool json = false;
};

// Prints what a roster says. Errors as SigningRoster::Load(), or ParseRoster().
absl::Status ShowRoster(const RosterShowOptions& options, const Clock& clock);

// Makes a secret that institutions share and the coordinator has not, in a new file that only
// its owner can read, and prints the file's name.
// ALREADY_EXISTS: `out` is there. INVALID_ARGUMENT: there is no folder for it.
absl::Status MakeFederationKey(const std::string& out);

}  // namespace fedtune
