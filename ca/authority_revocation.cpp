// SPDX-License-Identifier: Apache-2.0

// How an authority revokes what it has issued.

#include <algorithm>
#include <set>
#include <utility>

#include "base/status_macros.h"
#include "ca/authority_directory.h"
#include "fmt/format.h"
#include "privacy/identity/pem.h"
#include "privacy/identity/revocation_list.h"

namespace fedtune {
namespace {

// A client and its institution's signer are one member with two keys, which lie in one
// folder: what is stolen is both.
Role HolderOf(Role role) { return role == Role::kSigner ? Role::kClient : role; }

bool IsOfSameMember(const Identity& one, const Identity& other) {
  return one.name == other.name && HolderOf(one.role) == HolderOf(other.role);
}

bool IsAnyOf(const std::vector<IssuedCertificate>& members, const Identity& identity) {
  return std::ranges::any_of(members, [&](const IssuedCertificate& member) {
    return IsOfSameMember(member.certificate.identity, identity);
  });
}

// Sorts all that was issued by what becomes of it when these serials are revoked.
Revoked Sort(const std::vector<IssuedCertificate>& issued, const std::set<std::string>& serials,
             absl::Time now) {
  Revoked revoked;
  for (const IssuedCertificate& one : issued) {
    if (!serials.contains(one.certificate.serial)) continue;
    (one.revoked_at.has_value() ? revoked.before : revoked.now).push_back(one);
    if (!one.revoked_at.has_value()) revoked.now.back().revoked_at = now;
  }
  for (const IssuedCertificate& one : issued) {
    const Certificate& certificate = one.certificate;
    if (one.revoked_at.has_value() || certificate.not_after < now) continue;
    if (serials.contains(certificate.serial)) continue;
    if (!IsAnyOf(revoked.now, certificate.identity) &&
        !IsAnyOf(revoked.before, certificate.identity)) {
      continue;
    }
    revoked.still_valid.push_back(one);
  }
  return revoked;
}

absl::Time WholeSeconds(absl::Time time) {
  return absl::FromUnixSeconds(absl::ToUnixSeconds(time));
}

}  // namespace

absl::StatusOr<Revoked> AuthorityDirectory::Revoke(std::span<const std::string> serials,
                                                   absl::Time now) {
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(issued_));
  ASSIGN_OR_RETURN(Revoked revoked, RevokeInTransaction(serials, now));
  RETURN_IF_ERROR(std::move(transaction).Commit());
  return revoked;
}

absl::StatusOr<Revoked> AuthorityDirectory::RevokeMember(const Identity& member, absl::Time now) {
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(issued_));
  ASSIGN_OR_RETURN(const std::vector<IssuedCertificate> issued, List());
  std::vector<std::string> serials;
  for (const auto& [certificate, issued_at, pem, revoked_at] : issued) {
    if (!IsOfSameMember(certificate.identity, member)) continue;
    if (member.role == Role::kSigner && certificate.identity.role != Role::kSigner) continue;
    serials.push_back(certificate.serial);
  }
  if (serials.empty()) {
    return absl::NotFoundError(
        fmt::format("{} was never issued a certificate; \"fedtune-ca list\" shows all there are",
                    Describe(member)));
  }
  ASSIGN_OR_RETURN(Revoked revoked, RevokeInTransaction(serials, now));
  RETURN_IF_ERROR(std::move(transaction).Commit());
  return revoked;
}

absl::StatusOr<Revoked> AuthorityDirectory::RevokeFile(std::string_view pem, absl::Time now) {
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(issued_));
  std::vector<std::string> serials;
  for (const std::string_view block : SplitPem(pem)) {
    ASSIGN_OR_RETURN(const Certificate certificate, ParseCertificate(block));
    const absl::Time then = std::max(certificate.not_before, authority_.certificate().not_before);
    RETURN_IF_ERROR(
        CheckCertificate(block, authority_.ToPem(), certificate.identity.role, then).status());
    RETURN_IF_ERROR(issued_.Run("INSERT OR IGNORE INTO issued VALUES (?, ?, ?, ?, ?)",
                                certificate.serial, ToUri(certificate.identity),
                                absl::ToUnixSeconds(certificate.not_before),
                                absl::ToUnixSeconds(certificate.not_after), block));
    serials.push_back(certificate.serial);
  }
  if (serials.empty()) return absl::InvalidArgumentError("there is no certificate in the file");
  ASSIGN_OR_RETURN(Revoked revoked, RevokeInTransaction(serials, now));
  RETURN_IF_ERROR(std::move(transaction).Commit());
  return revoked;
}

absl::StatusOr<Revoked> AuthorityDirectory::RevokeInTransaction(
    std::span<const std::string> serials, absl::Time now) {
  ASSIGN_OR_RETURN(const std::vector<IssuedCertificate> issued, List());
  for (const std::string& serial : serials) {
    const bool known = std::ranges::any_of(
        issued, [&](const IssuedCertificate& one) { return one.certificate.serial == serial; });
    if (known) continue;
    return absl::NotFoundError(fmt::format(
        "no certificate with the serial {} is on the record; \"fedtune-ca list\" shows all there "
        "are, and --certificate takes one that an older copy of the record lacks",
        serial));
  }
  Revoked revoked = Sort(issued, {serials.begin(), serials.end()}, WholeSeconds(now));
  for (const IssuedCertificate& one : revoked.now) {
    RETURN_IF_ERROR(issued_.Run("INSERT INTO revoked VALUES (?, ?)", one.certificate.serial,
                                absl::ToUnixSeconds(now)));
  }
  if (revoked.now.empty()) {
    ASSIGN_OR_RETURN(revoked.list, NewestList());
  } else {
    ASSIGN_OR_RETURN(revoked.list, SignList(now));
  }
  return revoked;
}

absl::StatusOr<std::string> AuthorityDirectory::ListOfRevoked(absl::Time now) {
  ASSIGN_OR_RETURN(SqliteTransaction transaction, SqliteTransaction::Begin(issued_));
  ASSIGN_OR_RETURN(std::string list, NewestList());
  if (list.empty()) {
    ASSIGN_OR_RETURN(list, SignList(now));
  }
  RETURN_IF_ERROR(std::move(transaction).Commit());
  return list;
}

absl::StatusOr<std::string> AuthorityDirectory::PutNewestList(
    absl::Time now, const std::function<absl::Status(const std::string& list)>& put) {
  ASSIGN_OR_RETURN(std::string newest, ListOfRevoked(now));
  std::string in_place;
  while (in_place != newest) {
    RETURN_IF_ERROR(put(newest));
    in_place = std::move(newest);
    ASSIGN_OR_RETURN(newest, ListOfRevoked(now));
  }
  return in_place;
}

// Empty: there is none yet.
absl::StatusOr<std::string> AuthorityDirectory::NewestList() const {
  ASSIGN_OR_RETURN(
      SqliteStatement find,
      issued_.Prepare("SELECT pem FROM revocation_lists ORDER BY number DESC LIMIT 1"));
  ASSIGN_OR_RETURN(const bool found, find.Step());
  return found ? find.Text(0) : std::string();
}

// Read back before it is recorded: nobody is to be handed what no coordinator takes.
absl::StatusOr<std::string> AuthorityDirectory::SignList(absl::Time now) {
  const int64_t seconds = absl::ToUnixSeconds(now);
  RETURN_IF_ERROR(
      issued_.Run("INSERT INTO revocation_lists (signed_at, pem) VALUES (?, '')", seconds));
  const int64_t number = issued_.LastInsertedRowId();
  RevocationContent content = {.number = static_cast<uint64_t>(number),
                               .signed_at = absl::FromUnixSeconds(seconds),
                               .revoked = {}};
  ASSIGN_OR_RETURN(SqliteStatement select,
                   issued_.Prepare("SELECT serial, revoked_at FROM revoked ORDER BY serial"));
  while (true) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) break;
    content.revoked.push_back(
        {.serial = select.Text(0), .revoked_at = absl::FromUnixSeconds(select.Int64(1))});
  }
  std::string pem = authority_.SignRevocations(content);
  RETURN_IF_ERROR(RevocationList::Verify(pem, authority_.ToPem()).status());
  RETURN_IF_ERROR(issued_.Run("UPDATE revocation_lists SET pem = ? WHERE number = ?", pem, number));
  RETURN_IF_ERROR(issued_.Run("DELETE FROM revocation_lists WHERE number < ?", number));
  return pem;
}

absl::Status AuthorityDirectory::CheckKeyIsNotRevoked(const CertificateRequest& request) const {
  ASSIGN_OR_RETURN(const std::vector<IssuedCertificate> revoked,
                   Select("WHERE revoked_at IS NOT NULL"));
  for (const IssuedCertificate& one : revoked) {
    if (one.certificate.key_fingerprint != request.key_fingerprint()) continue;
    return absl::FailedPreconditionError(fmt::format(
        "the request is for a key whose certificate {} was revoked on {}: whoever has stolen it "
        "would have the new certificate, too; {} makes another key, in an empty folder: "
        "fedtune-ca request",
        one.certificate.serial, absl::FormatTime("%Y-%m-%d", *one.revoked_at, absl::UTCTimeZone()),
        request.identity().name));
  }
  return absl::OkStatus();
}

}  // namespace fedtune
