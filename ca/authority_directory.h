// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/sqlite/sqlite.h"
#include "privacy/identity/certificate.h"
#include "privacy/identity/certificate_authority.h"
#include "privacy/identity/roster_text.h"

namespace fedtune {

// One line of the record of what an authority issued.
struct IssuedCertificate {
  Certificate certificate;
  absl::Time issued_at;
  std::string pem;
  std::optional<absl::Time> revoked_at = std::nullopt;
};

// What a call to revoke certificates has done.
struct Revoked {
  std::vector<IssuedCertificate> now;          // Revoked by this call.
  std::vector<IssuedCertificate> before;       // They were already.
  std::vector<IssuedCertificate> still_valid;  // Others of the same members.
  std::string list;                            // All that are revoked, in PEM.
};

// A federation's authority in a folder of its custodian's machine:
//
//   ca.key      the key by which everything is signed
//   ca.crt      the certificate that every member keeps as authority.pem
//   issued.db   the record of every certificate, written before it is handed out,
//               of those that are revoked, of the institutions' numbers, and of
//               every roster
//
// Not thread-safe; several processes may use one folder.
class AuthorityDirectory {
 public:
  // Makes the folder and a new authority in it.
  // ALREADY_EXISTS: there is one, or a part of one; nothing has been changed.
  static absl::StatusOr<AuthorityDirectory> Create(const std::filesystem::path& directory,
                                                   std::string_view federation,
                                                   absl::Duration valid_for, absl::Time now);

  // NOT_FOUND: there is no authority. DATA_LOSS: it has lost its record. Errors of
  // PrivateKey::Load(), CertificateAuthority::Restore() and SqliteDatabase.
  static absl::StatusOr<AuthorityDirectory> Open(const std::filesystem::path& directory);

  // Issues and records, for all requests of one file or for none of them. Approving
  // a client approves its institution's signer, too, whatever the order; the first
  // signing certificate of an institution gives it its number.
  // FAILED_PRECONDITION: a certificate for this key was revoked, and whoever has stolen it
  // would have the new one, too. Errors of CertificateAuthority::Issue() and of
  // SqliteDatabase.
  absl::StatusOr<std::vector<IssuedCertificate>> Issue(std::span<const CertificateRequest> requests,
                                                       const Approval& approval, absl::Time now);

  // Revokes the certificates with these serials, or none of them, and signs a list with a
  // higher number, which is recorded before it is returned; if all were revoked before,
  // nothing changes.
  // NOT_FOUND: no certificate with such a serial is on the record.
  absl::StatusOr<Revoked> Revoke(std::span<const std::string> serials, absl::Time now);

  // The same for all certificates of a member, also those that have expired, because for
  // their keys others could be issued; for a client those of its institution's signer, too,
  // as for Issue().
  // NOT_FOUND: it was never issued one.
  absl::StatusOr<Revoked> RevokeMember(const Identity& member, absl::Time now);

  // The same for all certificates in a file, whether they are on the record, which may be
  // an older copy, or not. UNAUTHENTICATED: one is of another authority. INVALID_ARGUMENT:
  // one is none of a member.
  absl::StatusOr<Revoked> RevokeFile(std::string_view pem, absl::Time now);

  // The newest list of all that are revoked, in PEM; before the first revocation an empty one.
  absl::StatusOr<std::string> ListOfRevoked(absl::Time now);

  // Has `put` put ListOfRevoked() in place until what it has put last is still the newest: of
  // several processes that revoke at once each may be the last to write. Returns what is in
  // place. Errors of `put`, too.
  absl::StatusOr<std::string> PutNewestList(
      absl::Time now, const std::function<absl::Status(const std::string& list)>& put);

  // Signs the roster of all institutions that have a signing certificate which
  // is valid at `now` and not revoked; the newest counts. The text, whose version nobody has
  // seen, is recorded before it is returned.
  // FAILED_PRECONDITION: there is no such institution. DATA_LOSS: one of the
  // certificates on the record is not the authority's, or not any more.
  absl::StatusOr<std::string> SignRoster(absl::Time now);

  // Everything issued so far, oldest first. DATA_LOSS: a record is damaged.
  absl::StatusOr<std::vector<IssuedCertificate>> List() const;

  const CertificateAuthority& authority() const { return authority_; }

 private:
  absl::StatusOr<IssuedCertificate> IssueOne(const CertificateRequest& request, Approval approval,
                                             absl::Time now);
  absl::Status CheckKeyIsNotRevoked(const CertificateRequest& request) const;
  absl::StatusOr<std::vector<SigningRosterEntry>> ValidSigners(absl::Time now) const;
  absl::StatusOr<Revoked> RevokeInTransaction(std::span<const std::string> serials, absl::Time now);
  absl::StatusOr<std::string> NewestList() const;
  absl::StatusOr<std::string> SignList(absl::Time now);
  absl::StatusOr<std::vector<IssuedCertificate>> Select(const std::string& where) const;
  absl::Status CheckIsOurs(const Certificate& certificate, std::string_view pem) const;
  absl::StatusOr<uint32_t> NumberOf(const std::string& institution) const;

  AuthorityDirectory(CertificateAuthority authority, SqliteDatabase issued)
      : authority_(std::move(authority)), issued_(std::move(issued)) {}

  CertificateAuthority authority_;
  SqliteDatabase issued_;
};

}  // namespace fedtune
