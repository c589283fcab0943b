// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/sqlite/sqlite.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/certificate_authority.h"

namespace fedtune {

// One line of the record of what an authority issued.
struct IssuedCertificate {
  Certificate certificate;
  absl::Time issued_at;
  std::string pem;
};

// A federation's authority in a folder of its custodian's machine:
//
//   ca.key      the key by which everything is signed
//   ca.crt      the certificate that every member keeps as authority.pem
//   issued.db   the record of every certificate, written before it is handed out
//
// Not thread-safe; several processes may use one folder.
class AuthorityDirectory {
 public:
  // Makes the folder and a new authority in it.
  // ALREADY_EXISTS: there is one, or a part of one; nothing has been changed.
  static absl::StatusOr<AuthorityDirectory> Create(const std::filesystem::path& directory,
                                                   std::string_view federation,
                                                   absl::Duration valid_for, absl::Time now);

  // NOT_FOUND: there is no authority. Errors of PrivateKey::Load(),
  // CertificateAuthority::Restore() and SqliteDatabase.
  static absl::StatusOr<AuthorityDirectory> Open(const std::filesystem::path& directory);

  // Issues and records. Errors of CertificateAuthority::Issue(), and of
  // SqliteDatabase: then no certificate is returned.
  absl::StatusOr<IssuedCertificate> Issue(const CertificateRequest& request,
                                          const Approval& approval, absl::Time now);

  // Everything issued so far, oldest first. DATA_LOSS: a record is damaged.
  absl::StatusOr<std::vector<IssuedCertificate>> List() const;

  const CertificateAuthority& authority() const { return authority_; }

 private:
  AuthorityDirectory(CertificateAuthority authority, SqliteDatabase issued)
      : authority_(std::move(authority)), issued_(std::move(issued)) {}

  CertificateAuthority authority_;
  SqliteDatabase issued_;
};

}  // namespace fedtune
